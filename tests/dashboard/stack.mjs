// Checks src/assets/stack: Prometheus' configuration with promtool, Grafana's provisioning against the fields it documents,
// and that everything Compose mounts is there and meant for the place it is mounted at.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parse } from 'yaml';

/** Documented fields: grafana.com/docs/grafana/latest/administration/provisioning. */
const FIELDS = {
  datasources: ['name', 'type', 'access', 'orgId', 'uid', 'url', 'user', 'database', 'basicAuth', 'basicAuthUser', 'withCredentials', 'isDefault', 'jsonData', 'secureJsonData', 'version', 'editable', 'prune'],
  providers: ['name', 'orgId', 'folder', 'folderUid', 'type', 'disableDeletion', 'updateIntervalSeconds', 'allowUiUpdates', 'options'],
};
const REQUIRED = { datasources: ['name', 'type', 'url'], providers: ['name', 'options'] };
const OPTIONS = { jsonData: ['httpMethod', 'timeInterval', 'manageAlerts', 'prometheusType', 'prometheusVersion', 'cacheLevel'], options: ['path', 'foldersFromFilesStructure'] };
/** Where Grafana and Prometheus look, and the file that belongs there. */
const MOUNTS = {
  '/etc/prometheus/prometheus.yml': 'src/assets/stack/prometheus.yml',
  '/etc/prometheus/rules/plex.yml': 'src/assets/alerts.yml',
  '/etc/grafana/provisioning/datasources/plex.yaml': 'src/assets/stack/grafana/datasource.yaml',
  '/etc/grafana/provisioning/dashboards/plex.yaml': 'src/assets/stack/grafana/dashboards.yaml',
  '/etc/dashboards/plex.json': 'dashboard.json',
};

export async function checkStack(root, out) {
  const stack = `${root}src/assets/stack`;
  const problems = [];
  const compose = parse(await readFile(`${stack}/compose.yaml`, 'utf8'));
  const mounted = new Map();
  for (const [name, service] of Object.entries(compose.services)) {
    for (const volume of service.volumes ?? []) {
      const [from, to] = volume.split(':');
      if (!from.startsWith('.')) {
        if (!(from in compose.volumes)) problems.push(`${name} mounts the volume ${from}, which is not declared`);
      } else {
        mounted.set(to, resolve(stack, from));
      }
    }
    for (const other of service.depends_on ?? []) if (!(other in compose.services)) problems.push(`${name} depends on ${other}, which is no service`);
    for (const secret of service.secrets ?? []) if (!(secret in compose.secrets)) problems.push(`${name} has the secret ${secret}, which is not declared`);
    if (service.build && !existsSync(resolve(stack, service.build.context, service.build.dockerfile))) problems.push(`${name} cannot be built`);
  }
  for (const [to, file] of Object.entries(MOUNTS)) {
    if (mounted.get(to) !== resolve(root, file) || !existsSync(mounted.get(to))) problems.push(`${to} is not ${file}`);
  }

  // Prometheus, with the rules where the configuration expects them.
  const etc = `${out}/etc-prometheus`;
  await rm(etc, { recursive: true, force: true });
  await mkdir(`${etc}/rules`, { recursive: true });
  await cp(`${root}src/assets/alerts.yml`, `${etc}/rules/plex.yml`);
  const config = await readFile(`${stack}/prometheus.yml`, 'utf8');
  await writeFile(`${etc}/prometheus.yml`, config.replaceAll('/etc/prometheus', etc));
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'config', `${etc}/prometheus.yml`], { encoding: 'utf8' });
  if (status !== 0) problems.push(`promtool: ${stdout}${stderr}`);
  const { scrape_configs: [scrape], global } = parse(config);
  const [host, port] = scrape.static_configs[0].targets[0].split(':');
  if (scrape.job_name !== 'plex' || !(host in compose.services) || port !== '9594') problems.push('Prometheus does not scrape the exporter as the job plex');

  // Grafana.
  for (const [kind, file] of [['datasources', 'datasource.yaml'], ['providers', 'dashboards.yaml']]) {
    const { apiVersion, [kind]: entries, ...rest } = parse(await readFile(`${stack}/grafana/${file}`, 'utf8'));
    if (apiVersion !== 1 || Object.keys(rest).length > 0 || !entries?.length) problems.push(`${file} is no list of ${kind}`);
    for (const entry of entries ?? []) {
      problems.push(...Object.keys(entry).filter((field) => !FIELDS[kind].includes(field)).map((field) => `${file}: ${field} is not documented`));
      problems.push(...REQUIRED[kind].filter((field) => !(field in entry)).map((field) => `${file}: ${field} is missing`));
      for (const [field, known] of Object.entries(OPTIONS)) {
        problems.push(...Object.keys(entry[field] ?? {}).filter((option) => !known.includes(option)).map((option) => `${file}: ${field}.${option} is not documented`));
      }
      if (kind === 'datasources') {
        const url = new URL(entry.url);
        if (!(url.hostname in compose.services) || url.port !== '9090') problems.push(`${file}: ${entry.url} is not the Prometheus of the stack`);
        if (entry.jsonData.timeInterval !== global.scrape_interval) problems.push(`${file}: timeInterval is not the scrape interval`);
      } else if (![...mounted.keys()].some((path) => path.startsWith(`${entry.options.path}/`))) {
        problems.push(`${file}: nothing is mounted at ${entry.options.path}`);
      }
    }
  }
  return problems;
}

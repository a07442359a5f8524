// Checks dashboard.json against the types that Grafana publishes: no option that it does not know, no value of another type.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('node_modules', import.meta.url));
/** Panel types and the modules that declare their options. */
const PANELS = { bargauge: 'BarGauge', stat: 'Stat', 'state-timeline': 'StateTimeline', table: 'Table', timeseries: 'TimeSeries' };
const KINDS = `
// JSON has the values of enumerations, not their names.
type Json<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Json<U>> : T extends object ? { [K in keyof T]?: Json<T[K]> } : T;
`;

export function checkSchema(dashboard, folder) {
  const lines = ["import type { Dashboard, FieldConfig } from '@grafana/schema';"];
  for (const [type, name] of Object.entries(PANELS)) {
    lines.push(`import type * as ${name} from '@grafana/schema/dist/esm/raw/composable/${type.replace('-', '')}/panelcfg/x/${name}PanelCfg_types.gen';`);
  }
  lines.push(KINDS);
  // The query of an annotation is the data source's own.
  const list = dashboard.annotations.list.map(({ expr, step, titleFormat, textFormat, tagKeys, ...rest }) => rest);
  lines.push(`export const dashboard: Json<Dashboard> = ${JSON.stringify({ ...dashboard, annotations: { list } })};`);
  const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).filter(({ type }) => type !== 'row');
  const problems = [];
  for (const { id, title, type, options, fieldConfig } of panels) {
    const name = PANELS[type];
    if (!name) {
      problems.push(`${title}: no panel type ${type}`);
      continue;
    }
    lines.push(`export const options${id}: Json<${name}.Options> = ${JSON.stringify(options)};`);
    const customs = [fieldConfig.defaults.custom ?? {}, ...fieldConfig.overrides.map(({ properties }) => Object.fromEntries(
      properties.filter((property) => property.id.startsWith('custom.')).map((property) => [property.id.slice('custom.'.length), property.value])))];
    if (['stat', 'bargauge'].includes(type)) {
      if (customs.some((custom) => Object.keys(custom).length > 0)) problems.push(`${title}: ${type} has no options of its own for fields`);
    } else {
      lines.push(`export const custom${id}: Array<Json<${name}.FieldConfig>> = ${JSON.stringify(customs)};`);
    }
    const standard = fieldConfig.overrides.map(({ properties }) => Object.fromEntries(
      properties.filter((property) => !property.id.startsWith('custom.')).map((property) => [property.id, property.value])));
    lines.push(`export const field${id}: Array<Json<FieldConfig>> = ${JSON.stringify(standard)};`);
    for (const unit of [fieldConfig.defaults.unit, ...standard.map((one) => one.unit)]) {
      if (unit?.includes(':')) problems.push(`${title}: unit ${unit} is one of its own`);
    }
    if (type === 'timeseries' && fieldConfig.overrides.some(({ properties }) => properties.some((property) => property.id === 'unit'))) {
      problems.push(`${title}: two units on one axis`);
    }
  }
  for (const name of ['style', 'editable', 'gnetId']) {
    if (name in dashboard) problems.push(`${name} is obsolete`);
  }
  for (const variable of dashboard.templating.list) {
    if (variable.includeAll && variable.allValue !== '.+') problems.push(`all of ${variable.name} must not match what has no such label`);
  }
  writeFileSync(`${folder}/schema.ts`, lines.join('\n'));
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, module: 'esnext', moduleResolution: 'bundler', target: 'esnext', skipLibCheck: true, types: [],
      paths: { '@grafana/schema': [`${modules}/@grafana/schema`], '@grafana/schema/*': [`${modules}/@grafana/schema/*`] },
    },
    files: ['schema.ts'],
  }));
  const { status, stdout } = spawnSync(process.execPath, [`${modules}/typescript/bin/tsc`, '--project', `${folder}/tsconfig.json`, '--pretty', 'false'], { encoding: 'utf8' });
  if (status !== 0) problems.push(...stdout.trim().split('\n'));
  return problems;
}

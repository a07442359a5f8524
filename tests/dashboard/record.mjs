// Records the pages of real exporters during an evening, and gives them to a real Prometheus.
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long Plex, or the exporter, is away: longer than anybody waits in a test. */
const OUTAGE = 600;

/** Pages as `{ at, page }`, one a second, by server; those of an exporter without Plex go on after `end`. */
export async function record(evenings, seconds, down) {
  const child = spawn(evenings, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const servers = new Map();
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'ready') break;
    const [name, address] = line.split('\t');
    servers.set(name, { address, pages: [] });
  }
  const scrape = async ({ address, pages }, at) => {
    await sleep(Math.max(0, at - Date.now()));
    pages.push({ at, page: await (await fetch(`http://${address}/metrics`)).text() });
  };
  // Scrapes at whole seconds, so that the last one is never older than a second.
  const begun = Math.ceil(Date.now() / 1000) * 1000;
  const end = begun + (seconds - 1) * 1000;
  for (let at = begun; at <= end; at += 1000) {
    await Promise.all([...servers.values()].map((server) => scrape(server, at)));
  }
  // Without Plex until the exporter has noticed in every way that it notices.
  child.stdin.write(`${down}\n`);
  const away = servers.get(down);
  for (let at = end + 1000; !/^plex_up\{.*\} 0$/m.test(away.pages.at(-1).page) || at < end + 15_000; at += 1000) {
    await scrape(away, at);
  }
  child.stdin.end();
  await new Promise((resolve) => child.once('exit', resolve));
  return { servers: Object.fromEntries([...servers].map(([name, { pages }]) => [name, pages])), begun, end };
}

/** The samples of one page, as one scrape at `at` stores them. */
function samples({ at, page }, job, instance) {
  const labels = `job="${job}",instance="${instance}"`;
  const time = (at / 1000).toFixed(3);
  const lines = page.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, name, , own, value] = line.match(/^([a-z_]+)(\{(.*)\})? (\S+)$/);
    return `${name}{${own ? `${own},` : ''}${labels}} ${value} ${time}\n`;
  });
  return `${lines.join('')}up{${labels}} 1 ${time}\n`;
}

/** A Prometheus that has scraped these servers; `gone` is one whose exporter was stopped at the end. */
export async function startPrometheus({ servers, end }, { folder, down, gone }) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const file = `${folder}/pages.om`;
  const out = createWriteStream(file);
  const write = (text) => out.write(text) || new Promise((resolve) => out.once('drain', resolve));
  for (const [name, pages] of Object.entries(servers)) {
    const instance = `${name.toLowerCase().replaceAll(' ', '-')}:9594`;
    for (const page of pages) {
      await write(samples(page, name, instance));
    }
    if (name === down) {
      // Nothing changes any more: the exporter serves the last page for as long as Plex is away.
      for (let { at, page } = pages.at(-1); (at += 1000) <= end + OUTAGE * 1000;) {
        await write(samples({ at, page }, name, instance));
      }
    }
    if (name === gone) {
      for (const page of pages) {
        await write(samples(page, 'Gone', 'gone:9594'));
      }
      for (let at = pages.at(-1).at; (at += 1000) <= end + OUTAGE * 1000;) {
        await write(`up{job="Gone",instance="gone:9594"} 0 ${(at / 1000).toFixed(3)}\n`);
      }
    }
  }
  await new Promise((resolve) => out.end('# EOF\n', resolve));
  const blocks = spawnSync('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', file, `${folder}/data`], { encoding: 'utf8' });
  if (blocks.status !== 0) throw new Error(blocks.stdout + blocks.stderr);

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = `${folder}/prometheus.yml`;
  spawnSync('tee', [config], { input: 'global: {}\n' });
  // A session is gone when the next page lacks it: no five minutes' memory, as scraping has none either.
  const child = spawn('prometheus', [`--config.file=${config}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`,
    '--query.lookback-delta=999ms', '--log.level=error'], { stdio: ['ignore', 'ignore', 'inherit'] });
  for (let tries = 0; !(await fetch(`${url}/-/ready`).then(({ ok }) => ok, () => false)); tries += 1) {
    if (tries === 100 || child.exitCode !== null) throw new Error('Prometheus does not start');
    await sleep(100);
  }
  return { url, stop: () => new Promise((resolve) => { child.once('exit', resolve); child.kill(); }), outage: end + OUTAGE * 1000 };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// Draws dashboard.json with Grafana's own libraries over what a real Prometheus has of real exporters,
// writes pictures into target/dashboard, and fails on what a person would call broken.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle } from './build.mjs';
import { Browser } from './browser.mjs';
import { check } from './checks.mjs';
import { record, startPrometheus } from './record.mjs';
import { checkSchema } from './schema.mjs';
import { checkStack } from './stack.mjs';

const { values: options } = parseArgs({ options: {
  seconds: { type: 'string', default: '75' },
  evenings: { type: 'string' },
  reuse: { type: 'boolean', default: false },
  only: { type: 'string' },
} });
const root = fileURLToPath(new URL('../..', import.meta.url));
const out = `${root}target/dashboard`;
const dashboard = JSON.parse(await readFile(`${root}dashboard.json`, 'utf8'));

/** What is looked at: which servers, at the end of the evening or ten minutes later. */
const SCENARIOS = {
  evening: { jobs: ['Attic'], open: true, themes: ['dark', 'light'], widths: [1600, 1280], rows: true },
  phone: { phone: true, jobs: ['Attic'], open: false, themes: ['dark'], widths: [400] },
  'two-servers': { jobs: ['Attic', 'Cabin'], open: true, themes: ['dark'], widths: [1280] },
  'without-pass': { jobs: ['Shed'], needsPass: ['Sent by network', 'Sent by user', 'Processors', 'Memory'], open: true, themes: ['light'], widths: [1280] },
  crowd: { jobs: ['Crowd'], open: false, themes: ['dark'], widths: [1280] },
  'plex-down': {
    jobs: ['Down'], outage: true, open: true, themes: ['dark'], widths: [1280], attention: 'Plex does not answer', annotation: 'Down: Plex no longer answers',
    says: { Plex: 'Down', Notifications: 'Disconnected', 'Age of data': '10 mins' }, unknown: ['Remote access', 'Update', 'Streams', 'Transcodes', 'Bandwidth', 'plex.tv'],
  },
  'exporter-gone': {
    jobs: ['Gone'], outage: true, open: false, themes: ['light'], widths: [1280], attention: 'The exporter cannot be scraped',
    says: {}, unknown: ['Plex', 'Notifications', 'Remote access', 'Update', 'Streams', 'Transcodes', 'Bandwidth', 'Age of data', 'plex.tv'],
  },
};

await mkdir(out, { recursive: true });
const problems = [
  ...checkSchema(dashboard, out).map((text) => `schema: ${text}`),
  ...(await checkStack(root, out)).map((text) => `stack: ${text}`),
];
const stored = `${out}/pages.json`;
const [pages] = await Promise.all([
  options.reuse && existsSync(stored)
    ? readFile(stored, 'utf8').then(JSON.parse)
    : record(options.evenings ?? `${root}target/debug/examples/evenings`, Number(options.seconds), 'Down'),
  bundle(`${out}/bundle.js`),
]);
await writeFile(stored, JSON.stringify(pages));
const prometheus = await startPrometheus(pages, { folder: `${out}/prometheus`, down: 'Down', gone: 'Attic' });
const browser = await Browser.start(out);
try {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    if (options.only && !options.only.split(',').includes(name)) continue;
    const to = scenario.outage ? prometheus.outage : pages.end;
    const from = scenario.outage ? to - 720_000 : pages.begun - 5_000;
    for (const theme of scenario.themes) {
      for (const width of scenario.widths) {
        const drawn = await browser.draw(dashboard, {
          prometheus: prometheus.url, theme, width, from: new Date(from).toISOString(), to: new Date(to).toISOString(), open: scenario.open,
          variables: { job: scenario.jobs }, scrapeInterval: '1s',
        });
        const file = `${out}/${name}-${theme}-${width}`;
        await drawn.picture(`${file}.png`);
        if (scenario.rows) await drawn.rows(file);
        const found = await check(drawn, { name, scenario, dashboard, prometheus: prometheus.url, to });
        problems.push(...found.map((text) => `${name}, ${theme}, ${width} px: ${text}`));
        await drawn.close();
      }
    }
  }
} finally {
  await browser.stop();
  await prometheus.stop();
}
for (const problem of problems) console.log(problem);
console.log(`dashboard: ${problems.length === 0 ? 'passed' : `${problems.length} problems`}; pictures in target/dashboard`);
process.exitCode = problems.length === 0 ? 0 : 1;

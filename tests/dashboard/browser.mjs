// A headless Chromium that draws the page.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const own = (path) => fileURLToPath(new URL(path, import.meta.url));
/** Icons of Grafana. */
const PUBLIC = own('node_modules/@grafana/ui/dist/public/');
const FILES = { '/': own('browser/index.html'), '/bundle.js': 'OUT/bundle.js', '/bundle.css': 'OUT/bundle.css',
  '/public/fonts/inter/Inter-Regular.woff2': own('node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2'),
  '/public/fonts/inter/Inter-Medium.woff2': own('node_modules/@fontsource/inter/files/inter-latin-500-normal.woff2'),
};
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css', '.woff2': 'font/woff2', '.svg': 'image/svg+xml' };

export class Browser {
  /** A browser that draws the bundle in `folder`. */
  static async start(folder, executablePath = CHROMIUM[0]) {
    const self = new Browser();
    self.server = createServer(async (request, response) => {
      const path = FILES[request.url] ?? (request.url.startsWith('/public/') ? `${PUBLIC}${request.url.replace(/^\/public\/(build\/)?/, '')}` : undefined);
      const bytes = path && await readFile(path.replace('OUT', folder)).catch(() => undefined);
      response.writeHead(bytes ? 200 : 404, { 'Content-Type': TYPES[extname(path ?? '')] ?? 'application/octet-stream' });
      response.end(bytes);
    });
    await new Promise((resolve) => self.server.listen(0, '127.0.0.1', resolve));
    self.url = `http://127.0.0.1:${self.server.address().port}/`;
    self.browser = await chromium.launch({
      executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
        '--disable-sync', '--hide-scrollbars', '--force-color-profile=srgb'],
    });
    return self;
  }

  async draw(dashboard, { width, ...options }) {
    const page = await this.browser.newPage({ viewport: { width, height: 1000 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error.stack)));
    // Failed requests are reported with their address, here and in `plex.queries`.
    page.on('console', (message) => { if (message.type() === 'error' && !message.text().startsWith('Failed to load')) errors.push(message.text()); });
    page.on('response', (response) => { if (response.status() === 404 && !response.url().includes('/icons/')) errors.push(`no ${response.url()}`); });
    await page.goto(this.url);
    await page.evaluate(([json, chosen]) => window.draw(json, chosen), [dashboard, options]);
    await page.waitForFunction(() => window.plex.done(), null, { timeout: 30_000 }).catch(async (error) => {
      const left = await page.evaluate(() => window.plex.scene.state.body.state.panels.map((panel) => `${panel.state.title}: ${panel.state.$data.state.data?.state}`));
      throw new Error(`${errors.join('\n')}\n${left.join('\n')}\n${error}`);
    });
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width, height });
    await page.evaluate(() => document.fonts.ready);
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 250))); }));
    return new Drawn(page, errors, { width, height });
  }

  async stop() {
    await this.browser.close();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

class Drawn {
  constructor(page, errors, size) {
    Object.assign(this, { page, errors, size });
  }

  picture(path) {
    return this.page.screenshot({ path, clip: { x: 0, y: 0, ...this.size } });
  }

  /** A picture of every row of the dashboard. */
  async rows(prefix) {
    const rows = await this.page.$$eval('[data-row]', (all) => all.map((row) => ({ title: row.dataset.row, y: row.getBoundingClientRect().top + scrollY })));
    for (const [index, { title, y }] of rows.entries()) {
      const end = rows[index + 1]?.y ?? this.size.height;
      const name = title.toLowerCase().replace(/[^a-z]+/g, '-');
      await this.page.screenshot({ path: `${prefix}-${index + 1}-${name}.png`, clip: { x: 0, y, width: this.size.width, height: end - y } });
    }
  }

  close() {
    return this.page.close();
  }
}

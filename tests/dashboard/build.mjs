// Bundles the page that draws the dashboard.
import { build } from 'esbuild';

/** What only the data source's query editor needs. */
const EDITORS = /^(@grafana\/assistant|monaco-editor|@monaco-editor\/react|react-monaco-editor)(\/|$)/;

/** A module without exports. */
const NOTHING = 'module.exports = {};';

export async function bundle(outfile) {
  await build({
    entryPoints: [new URL('browser/main.jsx', import.meta.url).pathname], outfile, bundle: true, format: 'iife', jsx: 'transform', logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.png': 'dataurl' },
    plugins: [{
      name: 'dependencies',
      setup(build) {
        // @grafana/ui brings version 5 of the router and version 6 under this name; @grafana/scenes means version 6.
        build.onResolve({ filter: /^react-router-dom$/ }, ({ importer, path, ...rest }) =>
          importer.includes('/@grafana/scenes/') ? build.resolve('react-router-dom-v5-compat', rest) : undefined);
        build.onResolve({ filter: EDITORS }, ({ path }) => ({ path, namespace: 'none' }));
        build.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: NOTHING, loader: 'js' }));
      },
    }],
  });
}

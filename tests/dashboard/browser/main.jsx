// Draws one dashboard as Grafana does: variables, queries, transformations and field options by Grafana's own
// libraries, the grid and the rows by this file.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { CompatRouter } from 'react-router-dom-v5-compat';
import { config } from '@grafana/runtime';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { ThemeContext } from '@grafana/data';
import {
  CustomVariable, dataLayers, DataSourceVariable, EmbeddedScene, QueryVariable, SceneDataLayerSet, SceneDataTransformer,
  SceneObjectBase, SceneQueryRunner, SceneTimeRange, SceneVariableSet, VariableValueSelectors, VizPanel,
} from '@grafana/scenes';
import { startGrafana } from './grafana.js';
import { registerPanels } from './panels.jsx';

/** Height of a row of the grid and the gap between two, as in Grafana. */
const [CELL, GAP, COLUMNS] = [30, 8, 24];
/** Below this width Grafana puts every panel below the one before. */
const PHONE = 768;

class Grid extends SceneObjectBase {}
Grid.Component = ({ model }) => {
  const { panels, rows } = model.useState();
  const [width, setWidth] = React.useState(0);
  const measured = React.useRef(null);
  React.useLayoutEffect(() => {
    const observer = new ResizeObserver(([{ contentRect }]) => setWidth(contentRect.width));
    observer.observe(measured.current);
    return () => observer.disconnect();
  }, []);
  const phone = width < PHONE;
  let below = 0;
  const place = ({ x, y, w, h }) => {
    const size = { height: h * (CELL + GAP) - GAP };
    if (phone) {
      const top = below;
      below += size.height + GAP;
      return { left: 0, top, width, ...size };
    }
    const column = (width + GAP) / COLUMNS;
    return { left: x * column, top: y * (CELL + GAP), width: w * column - GAP, ...size };
  };
  const items = [...rows.map((row) => ({ row, at: row.gridPos })), ...panels.map((panel) => ({ panel, at: panel.state.gridPos }))]
    .sort((a, b) => a.at.y - b.at.y || a.at.x - b.at.x);
  const placed = width ? items.map((item) => ({ ...item, style: { position: 'absolute', ...place(item.at) } })) : [];
  const height = Math.max(0, ...placed.map(({ style }) => style.top + style.height));
  return (
    <div ref={measured} style={{ position: 'relative', flex: '1 1 auto', height }}>
      {placed.map(({ row, panel, style }) => row
        ? <div key={`row-${row.id}`} className="row" data-row={row.title} style={style}>{row.collapsed && !row.open ? '›' : '⌄'} <b>{row.title}</b></div>
        : <div key={panel.state.key} data-panel={panel.state.title} data-type={panel.state.pluginId} style={style}><panel.Component model={panel} /></div>)}
    </div>
  );
};

function variable(json) {
  const common = { name: json.name, label: json.label, hide: json.hide };
  switch (json.type) {
    case 'datasource':
      return new DataSourceVariable({ ...common, pluginId: json.query, value: 'prometheus', text: 'Prometheus' });
    case 'query':
      return new QueryVariable({
        ...common, query: json.query, datasource: json.datasource, isMulti: json.multi, includeAll: json.includeAll, allValue: json.allValue,
        refresh: json.refresh, sort: json.sort, regex: json.regex, value: window.plex.variables[json.name] ?? json.current.value,
        text: window.plex.variables[json.name] ?? json.current.text, defaultToAll: true,
      });
    case 'custom':
      return new CustomVariable({ ...common, query: json.query, value: json.current.value, text: json.current.text });
    default:
      throw new Error(`variable ${json.name} is of type ${json.type}`);
  }
}

function panel(json) {
  const queries = new SceneQueryRunner({ queries: json.targets, datasource: json.datasource, maxDataPoints: json.maxDataPoints, minInterval: json.interval });
  const $data = new SceneDataTransformer({ $data: queries, transformations: json.transformations ?? [] });
  return new VizPanel({
    key: `panel-${json.id}`, pluginId: json.type, title: json.title, description: json.description, options: json.options, fieldConfig: json.fieldConfig,
    pluginVersion: json.pluginVersion, $data, gridPos: json.gridPos, displayMode: json.transparent ? 'transparent' : 'default',
  });
}

/** Opens every collapsed row: moves down what lies below it. */
function opened(panels) {
  let shift = 0;
  const all = [];
  for (const json of [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
    const own = { ...json, gridPos: { ...json.gridPos, y: json.gridPos.y + shift } };
    all.push(own);
    if (json.type === 'row' && json.collapsed) {
      own.open = true;
      all.push(...json.panels.map((inner) => ({ ...inner, gridPos: { ...inner.gridPos, y: inner.gridPos.y + shift } })));
      const end = Math.max(...json.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
      shift += end - (json.gridPos.y + 1);
    }
  }
  return all;
}

window.draw = (dashboard, { prometheus, theme, from, to, open, variables, scrapeInterval }) => {
  window.plex = { queries: [], variables, scrapeInterval };
  startGrafana({ prometheus, theme });
  registerPanels();
  const all = open ? opened(dashboard.panels) : dashboard.panels;
  const scene = new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from, to, timeZone: 'utc' }),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map(variable) }),
    $data: new SceneDataLayerSet({
      layers: dashboard.annotations.list.filter(({ builtIn, enable }) => !builtIn && enable)
        .map((query) => new dataLayers.AnnotationsDataLayer({ name: query.name, query, isEnabled: true })),
    }),
    controls: [new VariableValueSelectors({})],
    body: new Grid({ panels: all.filter(({ type }) => type !== 'row').map(panel), rows: all.filter(({ type }) => type === 'row') }),
  });
  // Everything is drawn once every query has been answered.
  window.plex.done = () => {
    const panels = scene.state.body.state.panels;
    return panels.every((panel) => ['Done', 'Error'].includes(panel.state.$data.state.data?.state)) && document.querySelectorAll('[data-panel]').length === panels.length;
  };
  window.plex.scene = scene;
  document.body.style.background = config.theme2.colors.background.canvas;
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={config.theme2}>
      <MemoryRouter><CompatRouter><div>
        <GlobalStyles />
        <PortalContainer />
        <div className="links">{dashboard.links.map(({ title }) => <span key={title}>{title} ↗</span>)}</div>
        <scene.Component model={scene} />
      </div></CompatRouter></MemoryRouter>
    </ThemeContext.Provider>,
  );
};

// What the Grafana application gives its libraries: services, registries, and the data source's
// backend, which here is the HTTP API of one Prometheus.
import {
  booleanOverrideProcessor, createTheme, dataLinksOverrideProcessor, DataFrameType, displayNameOverrideProcessor,
  EventBusSrv, FieldType, identityOverrideProcessor, LoadingState, numberOverrideProcessor, rangeUtil,
  standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  stringOverrideProcessor, thresholdsOverrideProcessor, unitOverrideProcessor, valueMappingsOverrideProcessor,
} from '@grafana/data';
import { PrometheusDatasource } from '@grafana/prometheus';
import {
  config, setAppEvents, setBackendSrv, setDataSourceSrv, setPluginImportUtils, setRunRequest, setTemplateSrv,
  toDataQueryError,
} from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { from, of } from 'rxjs';
import { catchError, map, startWith } from 'rxjs/operators';

const FIELD_OPTIONS = {
  displayName: displayNameOverrideProcessor, unit: unitOverrideProcessor, min: numberOverrideProcessor,
  max: numberOverrideProcessor, decimals: numberOverrideProcessor, color: identityOverrideProcessor,
  noValue: stringOverrideProcessor, links: dataLinksOverrideProcessor, mappings: valueMappingsOverrideProcessor,
  thresholds: thresholdsOverrideProcessor, fieldMinMax: booleanOverrideProcessor, filterable: booleanOverrideProcessor,
};

/** An instant or range query of the Prometheus API, as the frames that Grafana's backend would send. */
async function query(prometheus, { expr, legendFormat = '', instant, range, refId, intervalMs, interval }, from, to) {
  const scrape = rangeUtil.intervalToMs(window.plex.scrapeInterval);
  const step = Math.max(intervalMs, interval ? rangeUtil.intervalToMs(interval) : 0, scrape, (to - from) / 11_000);
  const seconds = (milliseconds) => `${Math.max(1, Math.round(milliseconds / 1000))}s`;
  const filled = expr
    .replaceAll('$__rate_interval', seconds(Math.max(step + scrape, 4 * scrape)))
    .replaceAll('$__interval_ms', step)
    .replaceAll('$__interval', seconds(step))
    .replaceAll('$__range', seconds(to - from));
  const once = instant && !range;
  const parameters = once
    ? { time: to / 1000 }
    : { start: from / 1000, end: to / 1000, step: step / 1000 };
  const body = new URLSearchParams({ query: filled, ...parameters });
  const response = await fetch(`${prometheus}/api/v1/query${once ? '' : '_range'}`, { method: 'POST', body });
  const answer = await response.json();
  window.plex.queries.push({ expr: filled, instant: once, series: answer.data?.result?.length, error: answer.error });
  if (answer.status !== 'success') {
    return { error: `${answer.errorType}: ${answer.error}`, status: 400, refId };
  }
  const { result, resultType } = answer.data;
  const series = resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
  const frames = series.map(({ metric, value, values = [value] }) => {
    const legend = legendFormat && legendFormat !== '__auto'
      ? legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '')
      : undefined;
    return {
      schema: {
        refId, name: legend,
        meta: { type: once ? DataFrameType.NumericMulti : DataFrameType.TimeSeriesMulti, custom: { resultType } },
        fields: [
          { name: 'Time', type: FieldType.time, config: once ? {} : { interval: step } },
          { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: legend } },
        ],
      },
      data: { values: [values.map(([time]) => time * 1000), values.map(([, number]) => Number(number.replace('Inf', 'Infinity')))] },
    };
  });
  return { frames, status: 200, refId };
}

/** What the page asks of Grafana's backend. */
async function answer(prometheus, { url, data, params, method }) {
  if (url.startsWith('/api/ds/query')) {
    const results = await Promise.all(data.queries.map((one) => query(prometheus, one, Number(data.from), Number(data.to))));
    return { results: Object.fromEntries(results.map((result) => [result.refId, result])) };
  }
  const resource = url.match(/\/resources\/(.*)$/)?.[1];
  if (resource) {
    const body = new URLSearchParams(method === 'POST' ? data : params);
    const target = `${prometheus}/${resource}`;
    const response = method === 'POST' ? await fetch(target, { method, body }) : await fetch(`${target}?${body}`);
    return response.json();
  }
  throw new Error(`the page asked for ${url}`);
}

export function startGrafana({ prometheus, theme }) {
  Object.assign(config, { theme2: createTheme({ colors: { mode: theme } }), featureToggles: {}, publicDashboardAccessToken: '' });
  config.theme = config.theme2.v1;
  config.bootData = { user: { timezone: 'utc', weekStart: 'monday' }, settings: {}, navTree: [] };
  setAppEvents(new EventBusSrv());
  setBackendSrv({
    fetch: (request) => from(answer(prometheus, request)).pipe(map((data) => ({ data, status: 200, ok: true, headers: new Headers(), url: request.url, config: request }))),
    get: (url, params) => answer(prometheus, { url, params, method: 'GET' }),
  });
  const replace = (target, scopedVars, format) => {
    const object = scopedVars?.__sceneObject?.value.valueOf();
    return object ? sceneGraph.interpolate(object, target, scopedVars, format) : target ?? '';
  };
  setTemplateSrv({ replace, getVariables: () => [], containsTemplate: (target) => /\$/.test(target ?? ''), updateTimeRange() {} });

  const settings = {
    id: 1, uid: 'prometheus', name: 'Prometheus', type: 'prometheus', access: 'proxy', url: '', isDefault: true, readOnly: true,
    jsonData: { timeInterval: window.plex.scrapeInterval, httpMethod: 'POST', prometheusType: 'Prometheus', prometheusVersion: '2.42.0' },
    meta: { id: 'prometheus', name: 'Prometheus', type: 'datasource', info: { logos: { small: '', large: '' } }, annotations: true, metrics: true },
  };
  const source = new PrometheusDatasource(settings);
  source.uid = settings.uid;
  source.meta = settings.meta;
  setDataSourceSrv({
    get: async () => source,
    getList: () => [settings],
    getInstanceSettings: () => settings,
    reload: async () => {},
  });
  setPluginImportUtils({
    importPanelPlugin: async (id) => { throw new Error(`no panel plugin ${id}`); },
    getPanelPluginFromCache: () => undefined,
  });
  setRunRequest((datasource, request, custom) => {
    const data = (custom ?? datasource.query.bind(datasource))(request);
    return from(data).pipe(
      map(({ data: series, error, errors = error ? [error] : [], state }) => ({
        state: errors.length ? LoadingState.Error : state ?? LoadingState.Done,
        series: series.filter((frame) => frame.meta?.dataTopic !== 'annotations'),
        annotations: [], error: errors[0], errors, request, timeRange: request.range,
      })),
      catchError((error) => of({ state: LoadingState.Error, series: [], error: toDataQueryError(error), errors: [toDataQueryError(error)], request, timeRange: request.range })),
      startWith({ state: LoadingState.Loading, series: [], request, timeRange: request.range }),
    );
  });
  standardFieldConfigEditorRegistry.setInit(() => Object.entries(FIELD_OPTIONS).map(([id, process]) => ({
    id, path: id, name: id, process, shouldApply: () => true, getItemsCount: () => 0, override: () => null, editor: () => null,
  })));
  standardEditorsRegistry.setInit(() => ['custom'].map((id) => ({ id, name: id, editor: () => null })));
  const transformers = new Map(Object.values(standardTransformers).map((transformer) => [transformer.id, transformer]));
  standardTransformersRegistry.setInit(() => [...transformers.values()].map((transformer) => ({
    id: transformer.id, name: transformer.name, transformation: async () => transformer, editor: () => null, imageDark: '', imageLight: '',
  })));
}

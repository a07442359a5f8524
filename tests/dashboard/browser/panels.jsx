// The panel types that the dashboard uses, made of the components that Grafana's own panels are made of.
import React from 'react';
import {
  cacheFieldDisplayNames, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayName, getFieldDisplayValues, formattedValueToString, PanelPlugin, VizOrientation,
  identityOverrideProcessor, DEFAULT_FIELD_DISPLAY_VALUES_LIMIT,
} from '@grafana/data';
import { config } from '@grafana/runtime';
import { BarGauge, BigValue, TimeSeries, useTheme2, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { sceneUtils } from '@grafana/scenes';

/** Options of a field that overrides may set, by panel type, with their defaults. */
const GRAPH = {
  drawStyle: 'line', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto',
  pointSize: 5, spanNulls: false, lineInterpolation: 'linear', lineStyle: undefined, stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto', axisLabel: '', axisSoftMin: undefined, axisSoftMax: undefined, axisGridShow: undefined,
  axisBorderShow: false, scaleDistribution: { type: 'linear' }, hideFrom: { legend: false, tooltip: false, viz: false },
  thresholdsStyle: { mode: 'off' }, barAlignment: 0, barWidthFactor: 0.6, axisColorMode: 'text', axisCenteredZero: false, transform: undefined,
  axisWidth: undefined, fillBelowTo: undefined,
};
const TABLE = { align: 'auto', cellOptions: { type: 'auto' }, width: undefined, minWidth: undefined, inspect: false, filterable: false, hidden: false };

function register(pluginId, Panel, custom = {}) {
  const plugin = new PanelPlugin(Panel).setDataSupport({ annotations: true, alertStates: false });
  plugin.useFieldConfig({
    useCustomConfig: (builder) => {
      for (const [path, defaultValue] of Object.entries(custom)) {
        builder.addCustomEditor({
          id: path, path, name: path, defaultValue, editor: () => null, override: () => null,
          process: identityOverrideProcessor, shouldApply: () => true,
        });
      }
    },
  });
  sceneUtils.registerRuntimePanelPlugin({ pluginId, plugin });
}

function NoData({ text }) {
  return <div data-no-data style={{ height: '100%', display: 'flex', alignItems: 'center', justifyContent: 'center', opacity: 0.7 }}>{text ?? 'No data'}</div>;
}

function Graph({ data, width, height, timeRange, timeZone, options, fieldConfig }) {
  const theme = useTheme2();
  const frames = data.series.filter((frame) => frame.fields.some((field) => field.type === FieldType.number) && frame.length > 0);
  if (frames.length === 0) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  const annotations = (data.annotations ?? []).flatMap((frame) => {
    const [time, color] = ['time', 'color'].map((name) => frame.fields.find((field) => field.name === name)?.values ?? []);
    return [...time].map((at, index) => ({ at, color: theme.visualization.getColorByName(color[index] ?? 'blue') }));
  });
  return (
    <TimeSeries key={annotations.length} frames={frames} structureRev={data.structureRev} width={width} height={height} timeRange={timeRange} timeZone={[timeZone]} legend={options.legend} options={options}>
      {(builder) => {
        builder.addHook('draw', (plot) => {
          for (const { at, color } of annotations) {
            const x = plot.valToPos(at, 'x', true);
            if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
            Object.assign(plot.ctx, { strokeStyle: color, fillStyle: color, lineWidth: 2 });
            plot.ctx.setLineDash([4, 4]);
            plot.ctx.beginPath();
            plot.ctx.moveTo(x, plot.bbox.top);
            plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
            plot.ctx.stroke();
            plot.ctx.setLineDash([]);
          }
        });
        return null;
      }}
    </TimeSeries>
  );
}

/** The values of a stat or bar gauge, one a series (or row). */
function values({ data, options, fieldConfig, replaceVariables, timeZone }) {
  return getFieldDisplayValues({
    fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme: config.theme2, timeZone, data: data.series,
    sparkline: options.graphMode !== undefined && options.graphMode !== 'none',
  });
}

function Stat(props) {
  const { width, height, options, renderCounter, data } = props;
  const theme = useTheme2();
  const draw = ({ value: { display, sparkline }, width, height, count, alignmentFactors }) => (
    <BigValue value={display} sparkline={options.graphMode === 'area' ? sparkline : undefined} count={count} colorMode={options.colorMode} graphMode={options.graphMode}
      justifyMode={options.justifyMode} textMode={options.textMode} alignmentFactors={alignmentFactors} text={options.text} width={width} height={height} theme={theme} wideLayout={options.wideLayout ?? true} />
  );
  return (
    <VizRepeater getValues={() => values(props)} getAlignmentFactors={getDisplayValueAlignmentFactors} renderValue={draw} width={width} height={height} source={data}
      itemSpacing={3} renderCounter={renderCounter} autoGrid={true} orientation={options.orientation === 'auto' && width > height ? VizOrientation.Vertical : options.orientation} />
  );
}

function Bars(props) {
  const { width, height, options, renderCounter, data, fieldConfig } = props;
  const theme = useTheme2();
  if (data.series.every((frame) => frame.length === 0)) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  const draw = ({ value: { field, display, view, colIndex }, alignmentFactors, orientation, width, height, count }) => (
    <BarGauge value={display} width={width} height={height} orientation={orientation} field={field} text={options.text} display={view?.getFieldDisplayProcessor(colIndex)}
      theme={theme} itemSpacing={10} displayMode={options.displayMode} alignmentFactors={count > 1 ? alignmentFactors : undefined}
      showUnfilled={options.showUnfilled} valueDisplayMode={options.valueMode} namePlacement={options.namePlacement} isOverflow={false} />
  );
  return (
    <VizRepeater getValues={() => values(props)} getAlignmentFactors={getDisplayValueAlignmentFactors} renderValue={draw} width={width} height={height} source={data} itemSpacing={10}
      minVizWidth={options.minVizWidth ?? 8} minVizHeight={options.minVizHeight ?? 16} renderCounter={renderCounter} orientation={options.orientation} />
  );
}

function Table({ data, width, height, options, fieldConfig, timeRange }) {
  const frame = data.series[0];
  if (!frame?.length || frame.fields.length === 0) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  cacheFieldDisplayNames([frame]);
  return (
    <div data-table-width={width} data-table-height={height}>
      <TableNG data={frame} width={width} height={height} noHeader={!options.showHeader} showTypeIcons={options.showTypeIcons} resizable={true} cellHeight={options.cellHeight}
        sortBy={options.sortBy} initialSortBy={options.sortBy} timeRange={timeRange} fieldConfig={fieldConfig} enableVirtualization={false} structureRev={data.structureRev} />
    </div>
  );
}

/** Intervals of equal state, a line a series: what Grafana's state timeline shows. */
function Timeline({ data, width, height, timeRange, options, fieldConfig }) {
  const theme = useTheme2();
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const lines = data.series.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number).map((field) => ({ frame, field })));
  if (lines.length === 0) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  const legend = options.legend?.showLegend ? 22 : 0;
  const names = Math.min(width / 3, 12 + 7 * Math.max(...lines.map(({ frame, field }) => getFieldDisplayName(field, frame, data.series).length)));
  const each = (height - legend - 4) / lines.length;
  const seen = new Map();
  return (
    <div style={{ position: 'relative', width, height, font: `12px ${theme.typography.fontFamily}` }}>
      {lines.map(({ frame, field }, row) => {
        const time = frame.fields[0];
        const gap = (time.config.interval ?? 15_000) * 1.5;
        const spans = [];
        field.values.forEach((value, index) => {
          const [at, last] = [time.values[index], spans.at(-1)];
          if (last?.value === value && at - last.to <= gap) {
            last.to = at;
          } else {
            if (last && at - last.to <= gap) last.to = at;
            spans.push({ value, from: at, to: at });
          }
        });
        return (
          <React.Fragment key={row}>
            <div data-series-name style={{ position: 'absolute', left: 0, width: names - 8, top: row * each, height: each, display: 'flex', alignItems: 'center', justifyContent: 'flex-end', whiteSpace: 'nowrap', overflow: 'hidden' }}>{getFieldDisplayName(field, frame, data.series)}</div>
            {spans.map((span, index) => {
              const { color, text } = field.display(span.value);
              seen.set(text, color);
              const scale = (width - names) / (to - from);
              return <div key={index} data-state={text} style={{ position: 'absolute', left: names + (span.from - from) * scale, width: Math.max(1, (span.to - span.from) * scale), top: row * each + each * 0.05, height: each * 0.9, background: color, overflow: 'hidden' }} />;
            })}
          </React.Fragment>
        );
      })}
      {legend > 0 && <div data-legend style={{ position: 'absolute', bottom: 0, left: 8, display: 'flex', gap: 14 }}>
        {[...seen].map(([text, color]) => <span key={text}><i style={{ display: 'inline-block', width: 14, height: 4, background: color, marginRight: 6, verticalAlign: 'middle' }} />{text}</span>)}
      </div>}
    </div>
  );
}

export function registerPanels() {
  register('timeseries', Graph, GRAPH);
  register('stat', Stat);
  register('bargauge', Bars);
  register('table', Table, TABLE);
  register('state-timeline', Timeline, { lineWidth: 0, fillOpacity: 70, hideFrom: { legend: false, tooltip: false, viz: false }, spanNulls: false });
}

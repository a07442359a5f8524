// What a person would call broken in a drawn dashboard.

/** Panels that may have nothing to show, by scenario; `*` is every scenario. They then say so in words. */
const MAY_BE_EMPTY = {
  '*': ['Needs attention', 'Failed requests', 'Time spent buffering', 'Activities', 'Ignored beyond limits'],
};
/** Columns of free text, which may be longer than any column. */
const FREE_TEXT = ['Title', 'Which', 'User', 'Player', 'Library', 'System'];
/** Names of bars that may be cut are longer than this. The component gives all of them the width of the one with the most letters, so one of wide letters loses its end. */
const LONG_NAME = 16;
/** Words that have one colour wherever they appear. */
const FIXED = ['direct play', 'copy', 'transcode', 'playing', 'paused', 'buffering', 'lan', 'wan', 'relay', 'cellular'];

/** Everything the checks look at, read from the page in one go. */
function read(fixed) {
  const cut = (element) => element.scrollWidth > element.clientWidth + 1;
  const text = (element) => element.innerText.replace(/\s+/g, ' ').trim();
  return [...document.querySelectorAll('[data-panel]')].map((element) => {
    const title = element.dataset.panel;
    const panel = window.plex.scene.state.body.state.panels.find((one) => one.state.title === title);
    const data = panel.state.$data.state.data;
    const box = element.getBoundingClientRect();
    const shown = element.querySelector('h2');
    const legends = [...element.querySelectorAll('[class*="LegendItemWrapper"], [data-testid*="VizLegend"], li')].filter((item) => item.querySelector('[data-testid="series-icon"]'));
    const colours = legends.map((item) => [text(item), getComputedStyle(item.querySelector('[data-testid="series-icon"]')).background]);
    const grid = element.querySelector('[role="grid"]');
    const heads = grid ? [...grid.querySelectorAll('[role="columnheader"]')] : [];
    const columns = heads.map(text);
    const rows = grid ? [...grid.querySelectorAll('[role="row"]')].slice(1).map((row) => [...row.querySelectorAll('[role="gridcell"]')].map((cell) => {
      const inner = [cell, ...cell.querySelectorAll('*')];
      return { text: text(cell), cut: inner.some(cut), colour: getComputedStyle(cell).color, right: cell.getBoundingClientRect().right };
    })) : [];
    const values = [...element.querySelectorAll('[data-testid*="data-testid Bar gauge value"], [title] > span, [class*="value"] span')].map(text);
    return {
      title: panel.interpolate(title), type: element.dataset.type, errors: (data.errors ?? []).map((error) => error.message), state: data.state,
      annotations: (data.annotations ?? []).flatMap((frame) => [...(frame.fields.find((field) => field.name === 'title')?.values ?? [])]),
      empty: data.series.every((frame) => frame.length === 0), says: element.querySelector('[data-no-data]')?.innerText,
      titleCut: shown ? shown.scrollWidth > shown.clientWidth : 'absent', box: { right: box.right, bottom: box.bottom },
      legends: colours, legendOverflows: legends.some((item) => { const at = item.getBoundingClientRect(); return at.bottom > box.bottom || at.right > box.right || at.top < box.top; }),
      columns, headCut: heads.filter((head) => [head, ...head.querySelectorAll('*')].some(cut)).map(text), rows,
      tableWider: grid ? grid.scrollWidth > grid.clientWidth + 1 : false, tableHigher: grid ? [...grid.querySelectorAll('[role="row"]')].some((row) => row.getBoundingClientRect().bottom > box.bottom + 1) : false,
      text: text(element), values,
      cutNames: element.dataset.type === 'bargauge' ? [...element.querySelectorAll('*')].filter((inner) => getComputedStyle(inner).textOverflow === 'ellipsis' && inner.scrollWidth > inner.clientWidth * 1.3).map(text) : [],
      outside: [...element.querySelectorAll('span, div')].filter((inner) => inner.children.length === 0 && inner.innerText?.trim()).filter((inner) => {
        const at = inner.getBoundingClientRect();
        return at.width > 0 && (at.right > box.right + 1 || at.bottom > box.bottom + 1) && !inner.closest('[role="grid"]');
      }).map(text),
    };
  });
}

export async function check(drawn, { name, scenario, prometheus, to }) {
  const problems = [...new Set(drawn.errors)];
  const queries = await drawn.page.evaluate(() => window.plex.queries);
  problems.push(...queries.filter(({ error }) => error).map(({ expr, error }) => `${error} in ${expr}`));
  const panels = await drawn.page.evaluate(read, FIXED);
  const mayBeEmpty = [...MAY_BE_EMPTY['*'], ...(scenario.needsPass ?? [])];
  const colours = new Map();
  const seen = (word, colour, where) => {
    const own = FIXED.find((fixed) => word.toLowerCase() === fixed || word.toLowerCase().startsWith(`${fixed} ·`) || word.toLowerCase().startsWith(`${fixed},`));
    if (own) colours.set(own, [...(colours.get(own) ?? []), [colour.match(/rgba?\([^)]*\)/)?.[0], where]]);
  };
  for (const panel of panels) {
    const say = (text) => problems.push(`${panel.title}: ${text}`);
    panel.errors.forEach(say);
    if (panel.titleCut) say(`the title is ${panel.titleCut === true ? 'cut' : panel.titleCut}`);
    if (panel.empty && !scenario.outage && !mayBeEmpty.includes(panel.title)) say('no data');
    if (scenario.needsPass?.includes(panel.title) && panel.says !== 'Needs Plex Pass') say('does not say that it needs Plex Pass');
    if (panel.says === 'No data') say('says "No data" instead of what that means');
    if (panel.legendOverflows) say('the legend is longer than the panel');
    if (panel.tableWider && !scenario.phone) say('the table is wider than the panel');
    // Eleven endpoints a server.
    if (panel.tableHigher && !(scenario.jobs.length > 1 && panel.title === 'Endpoints')) say('rows are hidden below the edge of the panel');
    panel.headCut.forEach((head) => say(`the column ${head} is too narrow for its name`));
    // On a phone, 24 hours have no room for their names.
    if (!(scenario.phone && panel.title.startsWith('Time by hour'))) panel.cutNames.filter((text) => text.length <= LONG_NAME).forEach((text) => say(`the name ${text} is cut`));
    if (!(scenario.phone && panel.title.startsWith('Time by hour'))) panel.outside.forEach((text) => say(`${text} lies outside of the panel`));
    for (const row of panel.rows) {
      row.forEach((cell, index) => {
        const column = panel.columns[index];
        if (cell.cut && !FREE_TEXT.includes(column)) say(`${column} is too narrow for ${cell.text}`);
        if (['State', 'Stream', 'Network'].includes(column)) seen(cell.text, cell.colour, panel.title);
      });
    }
    for (const [text, colour] of panel.legends) {
      // The types of notifications are other words: `playing` is one of them.
      if (panel.title !== 'Notifications') seen(text, colour, panel.title);
      if (scenario.jobs.length > 1 && !scenario.jobs.some((job) => text.toLowerCase().includes(job.toLowerCase()))) say(`the legend ${text} names no server`);
    }
  }
  for (const [word, used] of colours) {
    const different = new Set(used.map(([colour]) => colour));
    if (different.size > 1) problems.push(`${word} has several colours: ${used.map(([colour, where]) => `${colour} in ${where}`).join(', ')}`);
  }
  // The same library has the same colour in both panels that draw it.
  const [sizes, added] = ['Size of libraries', 'Items added'].map((title) => new Map(panels.find((panel) => panel.title === title)?.legends));
  for (const [library, colour] of sizes) {
    if (added.get(library) !== colour) problems.push(`${library} has two colours: ${colour} and ${added.get(library)}`);
  }
  const text = (title) => panels.find((panel) => panel.title === title)?.text;
  if (scenario.outage) {
    for (const panel of panels.filter(({ type }) => type === 'stat')) {
      const expected = scenario.unknown.includes(panel.title) ? 'Unknown' : scenario.says[panel.title];
      if (!panel.text.includes(expected)) problems.push(`${panel.title} says "${panel.text}" instead of ${expected}`);
    }
    const annotations = panels.find(({ title }) => title === 'Streams by type').annotations;
    if (scenario.annotation && !annotations.includes(scenario.annotation)) problems.push(`no annotation says: ${scenario.annotation}`);
    if (!text('Needs attention').includes(scenario.attention)) problems.push(`Needs attention does not say: ${scenario.attention}`);
  } else {
    problems.push(...await cells(panels, prometheus, scenario, to));
  }
  return problems;
}

/** What the sessions' table should say, asked of Prometheus without the dashboard's own queries. */
async function cells(panels, prometheus, { jobs }, to) {
  const query = async (expr) => (await (await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query: expr, time: to / 1000 })}`)).json()).data.result;
  const job = `job=~"${jobs.join('|')}"`;
  const sessions = await query(`plex_session_info{${job}}`);
  const table = panels.find(({ title }) => title === 'Who is watching what');
  const rows = table.rows.map((row) => Object.fromEntries(row.map((cell, index) => [table.columns[index], cell.text])));
  const problems = [];
  if (rows.length !== sessions.length) problems.push(`${rows.length} of ${sessions.length} sessions are in the table`);
  for (const { metric } of sessions) {
    const own = rows.find((row) => row.Server === metric.server && row.User === metric.user && row.Title.startsWith(metric.title));
    if (!own) {
      problems.push(`no row of ${metric.user}, ${metric.title}`);
      continue;
    }
    const same = (column, value) => {
      if (own[column].toLowerCase() !== value.toLowerCase()) problems.push(`${column} of ${metric.user} is "${own[column]}" instead of ${value}`);
    };
    same('State', metric.state);
    same('Stream', metric.stream_type);
    same('Network', metric.relayed === 'true' ? 'relay' : metric.location);
    for (const [column, expr] of [
      ['File', `plex_session_media_info{${job}, server="${metric.server}", session="${metric.session}"}`],
      ['Bandwidth', `plex_session_bandwidth_kbps{${job}, server="${metric.server}", session="${metric.session}"}`],
    ]) {
      const [found] = await query(expr);
      if (column === 'File' && found && !['unknown', 'none'].includes(found.metric.video_resolution) && !own.File.startsWith(found.metric.video_resolution)) {
        problems.push(`File of ${metric.user} is "${own.File}" instead of ${found.metric.video_resolution}`);
      }
      if (column === 'Bandwidth' && found && Math.abs(parseFloat(own.Bandwidth) * (own.Bandwidth.includes('Mb') ? 1e6 : 1e3) - found.value[1] * 1000) > found.value[1] * 50) {
        problems.push(`Bandwidth of ${metric.user} is "${own.Bandwidth}" instead of ${found.value[1]} kbit/s`);
      }
    }
  }
  return problems;
}

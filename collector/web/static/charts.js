// Draws what /charts/… answers: bars for each hour, whose look says how far they can be trusted, and lines.
"use strict";

(() => {
  const STATES = ["measured", "partial", "estimated", "suspect"];
  const HEIGHT = 240;
  const drawn = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function hatch(stroke, background) {
    const tile = document.createElement("canvas");
    const size = 6 * devicePixelRatio;
    tile.width = tile.height = size;
    const paint = tile.getContext("2d");
    paint.fillStyle = background;
    paint.fillRect(0, 0, size, size);
    paint.strokeStyle = stroke;
    paint.lineWidth = 1.6 * devicePixelRatio;
    paint.beginPath();
    for (const shift of [-size, 0, size]) {
      paint.moveTo(shift, size);
      paint.lineTo(shift + size, 0);
    }
    paint.stroke();
    return paint.createPattern(tile, "repeat");
  }

  function looks() {
    return {
      measured: color("bar"),
      partial: color("bar-partial"),
      estimated: hatch(color("bar"), color("bar-pale")),
      suspect: color("warn"),
      missing: hatch(color("gap"), color("surface")),
    };
  }

  function clocks(zone) {
    const two = "2-digit";
    const parts = { timeZone: zone, hourCycle: "h23", month: two, day: two, hour: two, minute: two, second: two };
    const split = new Intl.DateTimeFormat("en", parts);
    const say = (show) => (seconds) => {
      const found = Object.fromEntries(split.formatToParts(seconds * 1000).map((one) => [one.type, one.value]));
      return show(found);
    };
    return {
      time: say((t) => `${t.hour}:${t.minute}`),
      day: say((t) => `${t.month}-${t.day}`),
      full: say((t) => `${t.month}-${t.day} ${t.hour}:${t.minute}`),
      second: say((t) => `${t.month}-${t.day} ${t.hour}:${t.minute}:${t.second}`),
    };
  }

  function format(value, decimals) {
    if (value === null || value === undefined) return "—";
    return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  }

  // Ticks say the time of day, and the date where a new one begins.
  function ticks(clock) {
    return (chart, splits) => {
      let before = "";
      return splits.map((split) => {
        const day = clock.day(split);
        const time = clock.time(split);
        const fresh = day !== before;
        before = day;
        return time === "00:00" || fresh ? `${time}\n${day}` : time;
      });
    };
  }

  function axes(data, clock) {
    const text = { stroke: color("muted"), font: `12px ${getComputedStyle(document.body).fontFamily}` };
    const lines = { stroke: color("grid"), width: 1 };
    return [
      { ...text, grid: { show: false }, ticks: { ...lines, size: 4 }, size: 44, space: 56, values: ticks(clock) },
      {
        ...text,
        grid: lines,
        ticks: { show: false },
        space: 36,
        size: (chart, values) => 14 + 7.2 * Math.max(3, ...(values || []).map((value) => value.length)),
        values: (chart, splits) => splits.map((value) => value.toLocaleString("en", { maximumFractionDigits: 3 })),
      },
    ];
  }

  const cursor = { y: false, points: { show: false }, drag: { x: false, y: false } };

  function bars(host, data, clock) {
    const look = looks();
    const half = data.times.length > 1 ? (data.times[1] - data.times[0]) / 2 : 1800;
    const columns = STATES.map((state) => data.values.map((value, i) => (data.states[i] === state ? value : null)));
    const path = uPlot.paths.bars({ size: [0.72, 44], radius: data.times.length > 60 ? 0 : 0.12 });
    return {
      columns: [data.times, ...columns],
      options: {
        scales: {
          x: { time: true, range: () => [data.times[0] - half, data.times[data.times.length - 1] + half] },
          y: { range: (chart, low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        series: [{}, ...STATES.map((state) => ({ paths: path, points: { show: false }, fill: () => look[state], width: 0 }))],
        hooks: {
          drawClear: [
            (chart) => {
              const paint = chart.ctx;
              paint.save();
              paint.fillStyle = look.missing;
              data.states.forEach((state, i) => {
                if (state === "" || data.values[i] !== null) return;
                const left = chart.valToPos(data.times[i] - half, "x", true);
                const right = chart.valToPos(data.times[i] + half, "x", true);
                paint.fillRect(left, chart.bbox.top, right - left, chart.bbox.height);
              });
              paint.restore();
            },
          ],
        },
      },
      readout: (i) => {
        if (data.states[i] === "") return "";
        const when = clock.full(data.times[i]);
        const word = data.words[data.states[i]];
        if (data.values[i] === null) return `${when} · ${word}`;
        const share = Math.round(data.coverage[i] * 100);
        return `${when} · ${format(data.values[i], data.decimals)} ${data.unit} · ${word} · ${data.words.coverage} ${share}%`;
      },
      legend: [
        ...STATES.filter((state) => data.states.some((one, i) => one === state && data.values[i] !== null)),
        ...(data.states.some((one, i) => one !== "" && data.values[i] === null) ? ["missing"] : []),
      ],
      table: {
        head: [data.words.time, data.words.value, data.words.coverage, data.words.state],
        rows: data.times
          .map((time, i) => [
            clock.full(time),
            data.values[i] === null ? "—" : `${format(data.values[i], data.decimals)} ${data.unit}`,
            data.states[i] === "pending" ? "—" : `${Math.round(data.coverage[i] * 100)}%`,
            data.words[data.states[i]] || null,
          ])
          .filter((row) => row[3] !== null),
      },
      hasData: data.states.some((state) => state !== "" && state !== "pending"),
    };
  }

  function line(host, data, clock) {
    const stroke = color("bar");
    const warn = color("warn");
    return {
      columns: [data.times, data.values, data.suspect],
      options: {
        scales: {
          x: { time: true, range: () => [data.from, data.to] },
          y: {
            range: (chart, low, high) => {
              if (low === null) return [0, 1];
              const margin = (high - low) * 0.08 || Math.abs(high) * 0.02 || 1;
              return [low >= 0 && low - margin < 0 ? 0 : low - margin, high + margin];
            },
          },
        },
        series: [
          {},
          { stroke, width: 1.6, fill: color("bar-wash"), points: { show: data.times.length < 40, size: 4, fill: stroke } },
          { stroke: warn, width: 0, paths: () => null, points: { show: true, size: 6, fill: warn } },
        ],
      },
      readout: (i) => {
        if (data.values[i] === null || data.values[i] === undefined) return "";
        const when = clock.second(data.times[i]);
        const doubt = data.suspect[i] === null ? "" : ` · ${data.words.suspect}`;
        return `${when} · ${format(data.values[i], data.decimals)} ${data.unit}${doubt}`;
      },
      legend: data.suspect.some((value) => value !== null) ? ["suspect"] : [],
      table: {
        head: [data.words.time, data.words.value],
        rows: data.times
          .map((time, i) => [clock.second(time), data.values[i]])
          .filter((row) => row[1] !== null)
          .slice(-200)
          .map((row) => [row[0], `${format(row[1], data.decimals)} ${data.unit}`]),
      },
      hasData: data.values.some((value) => value !== null),
    };
  }

  function fillTable(host, table) {
    const element = document.createElement("table");
    element.className = "rows";
    const head = element.createTHead().insertRow();
    for (const word of table.head) {
      const cell = document.createElement("th");
      cell.textContent = word;
      head.append(cell);
    }
    const body = element.createTBody();
    for (const values of table.rows) {
      const row = body.insertRow();
      for (const value of values) row.insertCell().textContent = value;
    }
    host.querySelector(".chart-table .scroll").replaceChildren(element);
  }

  function fillLegend(host, states, words) {
    const legend = host.querySelector(".chart-legend");
    legend.replaceChildren(
      ...states.map((state) => {
        const item = document.createElement("span");
        const swatch = document.createElement("i");
        swatch.dataset.look = state;
        item.append(swatch, words[state]);
        return item;
      }),
    );
  }

  function note(host, text) {
    const paragraph = document.createElement("p");
    paragraph.className = "chart-note";
    paragraph.textContent = text;
    host.querySelector(".chart-box").replaceChildren(paragraph);
  }

  function draw(one) {
    const { host, data } = one;
    if (one.chart) one.chart.destroy();
    const clock = clocks(data.zone);
    const plan = (data.kind === "bars" ? bars : line)(host, data, clock);
    const readout = host.querySelector(".chart-readout");
    const box = host.querySelector(".chart-box");
    host.querySelector(".chart-total").textContent = data.total || "";
    readout.textContent = "";
    if (!plan.hasData) {
      note(host, data.words.empty);
      host.dataset.drawn = "empty";
      return;
    }
    box.replaceChildren();
    one.chart = new uPlot(
      {
        width: box.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 10, 0, 0],
        cursor,
        axes: axes(data, clock),
        tzDate: (time) => uPlot.tzDate(new Date(time * 1000), data.zone),
        ...plan.options,
        hooks: {
          ...plan.options.hooks,
          setCursor: [(chart) => (readout.textContent = chart.cursor.idx === null ? "" : plan.readout(chart.cursor.idx) || "")],
        },
      },
      plan.columns,
      box,
    );
    fillLegend(host, plan.legend, data.words);
    fillTable(host, plan.table);
    host.dataset.drawn = "yes";
  }

  async function load(host) {
    try {
      const answer = await fetch(host.dataset.chart, { headers: { accept: "application/json" } });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      const one = { host, data: await answer.json(), chart: null };
      draw(one);
      drawn.push(one);
    } catch {
      note(host, host.dataset.failed);
      host.dataset.drawn = "failed";
    }
  }

  document.querySelectorAll("[data-chart]").forEach(load);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  new ResizeObserver(() => {
    for (const one of drawn) {
      const width = one.host.querySelector(".chart-box").clientWidth;
      if (one.chart && width && width !== one.chart.width) one.chart.setSize({ width, height: HEIGHT });
    }
  }).observe(document.documentElement);
})();

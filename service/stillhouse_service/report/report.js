// Draws the figures of #plots, each into the element of its name, in the reader's theme.
"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const THEMES = {
    light: { ink: "#1d2327", rule: "#e3e7e9", "@feasible": "#0072b2", "@infeasible": "#c75b00", "@failed": "#a63a1e",
      "@baseline": "#6b757c", "@accent": "#1f5f99", "@muted": "#8a949b", "@band": "rgba(31,95,153,0.16)", hover: "#ffffff" },
    dark: { ink: "#d5dbde", rule: "#313a40", "@feasible": "#56b4e9", "@infeasible": "#f0a04b", "@failed": "#f08a6c",
      "@baseline": "#a3adb3", "@accent": "#7db8ea", "@muted": "#7b868d", "@band": "rgba(125,184,234,0.20)", hover: "#1c2226" },
  };

  const coloured = (value, theme) => {
    if (typeof value === "string") return value in theme ? theme[value] : value;
    if (Array.isArray(value)) return value.map((item) => coloured(item, theme));
    if (value !== null && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, theme)]));
    return value;
  };

  const axis = (theme, own) => ({ gridcolor: theme.rule, zeroline: false, linecolor: theme.rule, automargin: true, ...own });

  const draw = () => {
    const theme = dark.matches ? THEMES.dark : THEMES.light;
    for (const [name, figure] of Object.entries(plots)) {
      const own = coloured(figure.layout, theme);
      const layout = {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: theme.ink, size: 13, family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif" },
        margin: { t: 24, r: 16, b: 48, l: 64 }, hovermode: "closest",
        hoverlabel: { bgcolor: theme.hover, bordercolor: theme.rule, font: { color: theme.ink }, align: "left" },
        ...own,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, ...own.legend },
        xaxis: axis(theme, own.xaxis), yaxis: axis(theme, own.yaxis),
      };
      Plotly.react(document.getElementById(name), coloured(figure.data, theme), layout,
        { responsive: true, displaylogo: false, displayModeBar: false });
    }
  };

  draw();
  dark.addEventListener("change", draw);
})();

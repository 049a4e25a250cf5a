// The one place that reaches into Bokeh's own objects in the browser: views, canvases, frames. Others get plain values and
// elements of it; views, models and documents they only hand back. What it needs is listed in `contract`, which a test checks against the
// installed Bokeh.
const bokeh = {
  // All views of figures and panes for which `match(view)` holds.
  views: (match) => [...Bokeh.index.query(match)],
  viewsNamed: (names) => bokeh.views((v) => v.model.name in names),
  viewsOfClass: (name) => bokeh.views((v) => v.model.css_classes?.includes(name)),
  // The views that paint on a canvas.
  painted: () => bokeh.views(bokeh.canvas),
  name: (view) => view.model.name,
  // The element that a view stands in.
  element: (view) => view.el,
  // The view of the figure called `name`; null before it stands.
  figure: (name) => Bokeh.index.query_one((v) => v.model?.name === name && v.canvas_view !== undefined),
  // The document that holds the model with this id.
  documentOf: (id) => Bokeh.documents.find((d) => d.get_model_by_id(id)),
  // Sets values of a model, all at once.
  set: (model, values) => model.setv(values),
  // Sets values of a model without telling the server.
  setQuietly: (page, id, values) => page.get_model_by_id(id)?.setv(values, { sync: false }),
  // A property's value as `setv` takes it, for one that was sent as a value specification.
  spec: (v) => (v?.value === undefined ? v : { value: v.value, transform: undefined, units: undefined }),
  // The view is gone for good.
  isGone: (view) => view.is_destroyed,
  // The canvas that a figure is painted on; undefined where there is none.
  canvas: (view) => view?.canvas_view?.primary?.canvas,
  // Pixels of that canvas for a pixel of the page.
  pixelRatio: (view) => view.canvas_view.primary.pixel_ratio,
  repaint: (view) => view.request_repaint(),
  // Calls `f` after each painting of the figure.
  onRepaint: (view, f) => view.repainted.connect(f),
  // The plot within the axes: where data coordinates are on the canvas, `sx(x)` and `sy(y)`, and its box `bbox`.
  frame: (view) => {
    const { x_scale, y_scale, bbox: { left, right, top, bottom, width, height } } = view.frame;
    return { sx: (x) => x_scale.compute(x), sy: (y) => y_scale.compute(y), bbox: { left, right, top, bottom, width, height } };
  },
  // Bokeh gives a text glyph new colours at once and new words a moment later. Where the layout changes between the two, as with a notice in
  // the same message, it paints then, and to measure more old words than there are new colours is an error. Measuring waits for the words.
  waitForWords: () => {
    const { prototype } = Bokeh.require("models/glyphs/text").TextView, measure = prototype.after_visuals;
    if (measure.waits) return;
    prototype.after_visuals = function () { if (this.labels.length === this.data_size) measure.call(this); };
    prototype.after_visuals.waits = true;
  },
  // The price range of a figure, and a new one for it.
  prices: (view) => ({ start: view.model.y_range.start, end: view.model.y_range.end }),
  setPrices: (view, range) => view.model.y_range.setv(range),
  // The grids of a figure that are drawn.
  grids: (view) => view.model.center.filter((c) => c.type === "Grid" && c.grid_line_color !== null),
  // Lines of a figure's grid in data coordinates: lists of xs and of ys.
  gridLines: (view, grid) => view.renderer_views.get(grid).grid_coords("major", false),
  // The box that is drawn in a figure: its `top` and `bottom` in data coordinates, how strong it is filled, and the width of its line.
  band: (view) => {
    const box = view.model.center.find((c) => c.type === "BoxAnnotation" && c.visible);
    return box && { top: box.top, bottom: box.bottom, alpha: box.fill_alpha, width: box.line_width };
  },
  // The data source called `name` of which a figure draws something.
  source: (view, name) => view.model.renderers.find((r) => r.data_source?.name === name)?.data_source,
  column: (source, name) => source.get_column(name),
  // The codes of the image in a data source, and how many rows and columns of them there are.
  image: (source) => {
    const codes = bokeh.column(source, "image")[0], [rows, columns] = codes.shape;
    return { codes, rows, columns };
  },
  // The colours of the image that a figure draws of `source`, by code.
  palette: (view, source) => view.model.renderers.find((r) => r.data_source === source).glyph.color_mapper.palette,
  // Calls `f` when the page that a component's view stands in has lost its connection to the server.
  onConnectionLost: (view, f) => view.model.document.on_event("connection_lost", f),
  // All elements below `node`, those in the shadows too, where Bokeh keeps its own.
  elements: function* (node) {
    for (const e of node.children ?? []) {
      yield e;
      if (e.shadowRoot) yield* bokeh.elements(e.shadowRoot);
      yield* bokeh.elements(e);
    }
  },
  // The tool of a figure whose icon an element is; null where it is none.
  toolOf: (e) => (e.classList.contains("bk-tool-icon") ? e.getRootNode().host : null),
  // Whether an element opens the tools that a figure has no room for.
  isMoreTools: (e) => e.classList.contains("bk-tool-overflow"),
  // What of the above the installed Bokeh lacks, by name, for the figure called `name`; empty where nothing is missing.
  contract: (name) => {
    const lacking = [];
    const need = (what, there) => { if (!there) lacking.push(what); };
    need("Bokeh.index.query", typeof Bokeh.index?.query === "function");
    need("Bokeh.index.query_one", typeof Bokeh.index?.query_one === "function");
    need("Bokeh.documents", Array.isArray(Bokeh.documents) && Bokeh.documents.length > 0);
    const texts = typeof Bokeh.require === "function" && Bokeh.require("models/glyphs/text").TextView.prototype;
    need("TextView.after_visuals", typeof texts.after_visuals === "function" && "data_size" in texts);
    const view = lacking.length ? null : bokeh.figure(name);
    need(`view of the figure ${name}`, view);
    if (!view) return lacking;
    const { renderers, center } = view.model, { frame } = view, of = frame?.bbox;
    const numbers = (values) => values.every((v) => Number.isFinite(v));
    need("document.get_model_by_id", bokeh.documentOf(view.model.id)?.get_model_by_id(view.model.id) === view.model);
    need("model.setv", typeof view.model.setv === "function");
    need("view.is_destroyed", view.is_destroyed === false);
    need("view.request_repaint", typeof view.request_repaint === "function");
    need("canvas_view.primary.canvas", bokeh.canvas(view) instanceof HTMLCanvasElement);
    need("canvas_view.primary.pixel_ratio", view.canvas_view?.primary?.pixel_ratio > 0);
    need("frame.x_scale.compute", numbers([frame?.x_scale?.compute(0)]));
    need("frame.y_scale.compute", numbers([frame?.y_scale?.compute(0)]));
    need("frame.bbox", numbers([of?.left, of?.right, of?.top, of?.bottom, of?.width, of?.height]));
    need("view.el", bokeh.element(view) instanceof Element);
    need("view.repainted.connect", typeof view.repainted?.connect === "function");
    const grid = Array.isArray(center) && bokeh.grids(view)[0];
    need("Grid in center", grid);
    const lines = grid && typeof view.renderer_views?.get(grid)?.grid_coords === "function";
    need("grid_coords", lines && bokeh.gridLines(view, grid)?.length === 2);
    const image = Array.isArray(renderers) && renderers.find((r) => r.glyph?.type === "Image"), source = image?.data_source;
    need("Image in renderers", image);
    need("renderer.data_source.name", source && bokeh.source(view, source.name) === source);
    need("data_source.get_column", typeof source?.get_column === "function");
    need("shape of an image", typeof source?.get_column === "function" && bokeh.column(source, "image")?.[0]?.shape?.length === 2);
    need("glyph.color_mapper.palette", Array.isArray(image?.glyph.color_mapper?.palette));
    need("model.document.on_event", typeof view.model.document?.on_event === "function");
    need("bk-tool-icon", [...bokeh.elements(view.el.shadowRoot)].some((e) => bokeh.toolOf(e) instanceof Element));
    return lacking;
  },
};

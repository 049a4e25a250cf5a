// The one place that reaches into Bokeh's own objects in the browser: views, canvases, frames. What it needs of them is listed in
// `contract`, which a test checks against the installed Bokeh.
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
  // Sets values of a model without telling the server.
  setQuietly: (page, id, values) => page.get_model_by_id(id)?.setv(values, { sync: false }),
  // A property's value as `setv` takes it, for one that was sent as a value specification.
  spec: (v) => (v?.value === undefined ? v : { value: v.value, transform: undefined, units: undefined }),
  // The view is gone for good.
  isGone: (view) => view.is_destroyed,
  // The canvas that a figure is painted on: its element `el`, `canvas`, `ctx` and `pixel_ratio`; undefined where there is none.
  canvas: (view) => view?.canvas_view?.primary,
  repaint: (view) => view.request_repaint(),
  // Calls `f` after each painting of the figure.
  onRepaint: (view, f) => view.repainted.connect(f),
  // Scales and box of the plot within the axes: `x_scale.compute(x)`, `y_scale.compute(y)`, `bbox`.
  frame: (view) => view.frame,
  // The grids of a figure that are drawn.
  grids: (view) => view.model.center.filter((c) => c.type === "Grid" && c.grid_line_color !== null),
  // Lines of a figure's grid in data coordinates: lists of xs and of ys.
  gridLines: (view, grid) => view.renderer_views.get(grid).grid_coords("major", false),
  // The box that is drawn in a figure, in data coordinates: `top`, `bottom`, `fill_alpha`, `line_width`.
  band: (view) => view.model.center.find((c) => c.type === "BoxAnnotation" && c.visible),
  // The data source called `name` of which a figure draws something.
  source: (view, name) => view.model.renderers.find((r) => r.data_source?.name === name)?.data_source,
  // A column of a data source; that of an image holds arrays with a `shape`, rows first.
  column: (source, name) => source.get_column(name),
  // The colours of the image that a figure draws of `source`, by code.
  palette: (view, source) => view.model.renderers.find((r) => r.data_source === source).glyph.color_mapper.palette,
  // The document of the page that a component's view stands in.
  pageOf: (view) => view.model.document,
  // What of the above the installed Bokeh lacks, by name, for the figure called `name`; empty where nothing is missing.
  contract: (name) => {
    const lacking = [];
    const need = (what, there) => { if (!there) lacking.push(what); };
    need("Bokeh.index.query", typeof Bokeh.index?.query === "function");
    need("Bokeh.index.query_one", typeof Bokeh.index?.query_one === "function");
    need("Bokeh.documents", Array.isArray(Bokeh.documents) && Bokeh.documents.length > 0);
    const view = lacking.length ? null : bokeh.figure(name);
    need(`view of the figure ${name}`, view);
    if (!view) return lacking;
    const canvas = bokeh.canvas(view), frame = bokeh.frame(view), { renderers, center } = view.model;
    need("document.get_model_by_id", bokeh.documentOf(view.model.id)?.get_model_by_id(view.model.id) === view.model);
    need("model.setv", typeof view.model.setv === "function");
    need("view.is_destroyed", view.is_destroyed === false);
    need("view.request_repaint", typeof view.request_repaint === "function");
    need("canvas_view.primary.ctx", typeof canvas?.ctx?.clearRect === "function");
    need("canvas_view.primary.canvas", canvas?.canvas instanceof HTMLCanvasElement);
    need("canvas_view.primary.el", canvas?.el instanceof Element);
    need("canvas_view.primary.pixel_ratio", canvas?.pixel_ratio > 0);
    need("frame.x_scale.compute", Number.isFinite(frame?.x_scale?.compute(0)));
    need("frame.y_scale.compute", Number.isFinite(frame?.y_scale?.compute(0)));
    need("frame.bbox", ["left", "right", "top", "bottom", "width", "height"].every((k) => Number.isFinite(frame?.bbox?.[k])));
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
    need("model.document.on_event", typeof bokeh.pageOf(view)?.on_event === "function");
    return lacking;
  },
};

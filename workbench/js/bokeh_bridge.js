// The one place that reaches into Bokeh's own objects in the browser: views, canvases, frames. What it needs of them is listed in
// `contract`, which a test checks against the installed Bokeh.
const bokeh = {
  // All views of figures and panes for which `match(view)` holds.
  views: (match) => [...Bokeh.index.query(match)],
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
  // Scales and box of the plot within the axes: `x_scale.compute(x)`, `y_scale.compute(y)`, `bbox`.
  frame: (view) => view.frame,
  // Lines of a figure's grid in data coordinates: lists of xs and of ys.
  gridLines: (view, grid) => view.renderer_views.get(grid).grid_coords("major", false),
  renderers: (view) => view.model.renderers,
  // Annotations and grids in the middle of the figure.
  center: (view) => view.model.center,
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
    const canvas = bokeh.canvas(view), frame = bokeh.frame(view), grid = bokeh.center(view)?.find((c) => c.type === "Grid");
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
    need("renderers", Array.isArray(bokeh.renderers(view)));
    need("Grid in center", grid);
    need("grid_coords", grid && bokeh.gridLines(view, grid)?.length === 2);
    need("model.document.on_event", typeof bokeh.pageOf(view)?.on_event === "function");
    return lacking;
  },
};

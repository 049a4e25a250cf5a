// Puts a text on the clipboard; whether it is there. A page that is no secure context (plain HTTP from another machine) has no clipboard of
// its own: there a field is selected and copied.
const toClipboard = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed: the other way */ }
  }
  const before = document.activeElement, field = document.createElement("textarea");
  field.value = text;
  field.style.cssText = "position:fixed;left:0;top:0;opacity:0";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus?.();
  return done;
};

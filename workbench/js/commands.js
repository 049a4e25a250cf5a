// A text in parts, each with whether it is code, that stands between backticks: a command to copy.
const codeParts = (text) => text.split("`").map((part, i) => [part, i % 2 === 1]);
const withCommands = (text) => codeParts(text).map(([part, isCode]) => {
  if (!isCode) return part;
  const code = document.createElement("code");
  code.textContent = part;
  return code;
});

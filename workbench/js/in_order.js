// Acts that are sent one at a time, none lost: those that come before the last was answered wait in their order. Of acts of one name that
// follow each other `together` makes one: it has the value waiting and the new one, and returns the value of both, or undefined for two.
const inOrder = (send, together) => {
  const waiting = [];
  let busy = false;
  const tell = (name, value) => {
    if (!busy) { busy = true; send(name, value); return; }
    const last = waiting[waiting.length - 1], both = last?.[0] === name ? together(name, last[1], value) : undefined;
    if (both === undefined) waiting.push([name, value]); else last[1] = both;
  };
  tell.busy = () => busy;
  tell.answered = () => {
    busy = false;
    if (waiting.length) tell(...waiting.shift());
    return !busy;
  };
  return tell;
};

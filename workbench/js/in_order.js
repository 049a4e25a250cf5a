// Acts that are sent one at a time: those that come before the last was answered wait in their order. Of acts of one name that follow each
// other `together` makes one: it has the value waiting and the new one, and returns the value of both, or undefined for two. Keys that are
// held must not be obeyed for minutes after they were let go: where more than `most` wait, the oldest is given up.
const inOrder = (send, together, most = 50) => {
  const waiting = [];
  let busy = false, sent = null;
  const tell = (name, value) => {
    if (!busy) { busy = true; sent = [name, value]; send(name, value); return; }
    const last = waiting[waiting.length - 1], both = last?.[0] === name ? together(name, last[1], value) : undefined;
    if (both !== undefined) last[1] = both;
    else if (waiting.push([name, value]) > most) waiting.shift();
  };
  tell.busy = () => busy;
  // The newest value of `name` that has no answer yet; undefined where there is none.
  tell.asked = (name) => [sent, ...waiting].filter((act) => act?.[0] === name).pop()?.[1];
  tell.answered = () => {
    busy = false; sent = null;
    if (waiting.length) tell(...waiting.shift());
    return !busy;
  };
  return tell;
};

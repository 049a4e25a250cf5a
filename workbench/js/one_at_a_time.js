const oneAtATime = (send) => {
  let waiting = null, busy = false;
  const tell = (name, value) => {
    if (busy) { waiting = [name, value]; return; }
    busy = true;
    send(name, value);
  };
  tell.busy = () => busy;
  tell.answered = () => {
    busy = false;
    if (!waiting) return true;
    const [name, value] = waiting;
    waiting = null;
    tell(name, value);
    return false;
  };
  return tell;
};

// A build while it goes on. The model holds plain data; nothing is computed here.

export default {
  render({ model, el }) {
    const title = make('h4');
    const bar = make('div', { class: 'steps', role: 'progressbar', 'aria-label': 'steps of the build', 'aria-valuemin': '0' });
    const status = make('code', { role: 'status' });
    const elapsed = make('span', { class: 'elapsed' });
    const stop = make('button', { type: 'button', class: 'jupyter-button' }, '■ Stop the build');
    const lines = make('pre', { tabindex: '0' });
    const details = make('details', {}, make('summary', {}, 'What it prints'), lines);
    const figure = make('figure', { class: 'lab-build', 'data-lm-suppress-shortcuts': 'true' },
      title, bar, make('p', { class: 'now' }, status, elapsed), make('div', { class: 'foot' }, stop, details));
    // JupyterLab would take Enter and the arrow keys
    figure.addEventListener('keydown', (event) => event.stopPropagation());
    stop.addEventListener('click', () => { model.set('stopping', true); model.save_changes(); });
    el.replaceChildren(figure);

    const paint = () => {
      const steps = model.get('steps');
      const done = steps.filter((step) => !['waiting', 'running'].includes(step.state)).length;
      bar.setAttribute('aria-valuemax', steps.length);
      bar.setAttribute('aria-valuenow', done);
      bar.setAttribute('aria-valuetext', `${done} of ${steps.length} steps`);
      // kept, not replaced: an animation would start again with each update
      while (bar.children.length > steps.length) bar.lastChild.remove();
      steps.forEach((step, at) => {
        const item = bar.children[at] ?? bar.appendChild(make('div', {}, make('code'), make('span')));
        if (item.className !== step.state) item.className = step.state;
        item.title = step.text;
        item.firstChild.textContent = step.name;
        item.lastChild.textContent = step.said;
      });
    };
    const say = () => {
      title.textContent = model.get('title');
      if (status.textContent !== model.get('status')) status.textContent = model.get('status');
      elapsed.textContent = model.get('elapsed');
    };
    const print = () => {
      const follows = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 4;
      lines.textContent = model.get('lines') || '(nothing)';
      if (follows) lines.scrollTop = lines.scrollHeight;
    };
    const run = () => { stop.hidden = !model.get('running'); stop.disabled = model.get('stopping'); };
    model.on('change:steps', paint);
    for (const name of ['title', 'status', 'elapsed']) model.on(`change:${name}`, say);
    model.on('change:lines', print);
    for (const name of ['running', 'stopping']) model.on(`change:${name}`, run);
    paint(); say(); print(); run();
  },
};

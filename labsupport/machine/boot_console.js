// A machine's start: a bar for each stage, and the console's text below. The model holds plain data.

export default {
  render({ model, el }) {
    const rows = new Map(Object.entries(model.get('colours')).map(([name, colour]) => {
      const bar = make('span', { class: 'bar' });
      bar.style.background = colour;
      const seconds = make('span', { class: 'seconds' });
      const row = make('div', { class: 'row' },
        make('span', { class: 'name' }, name), make('span', { class: 'track' }, bar, seconds));
      return [name, { row, bar, seconds }];
    }));
    // hidden, for the status says it in words
    const bars = make('div', { class: 'stages', 'aria-hidden': 'true' },
      ...[...rows.values()].map(({ row }) => row));
    const text = make('pre', {
      class: 'console', tabindex: '0', 'aria-label': 'the console of the machine' });
    const button = make('button', { type: 'button', class: 'jupyter-button' }, '■ Stop watching');
    const status = make('span', { role: 'status' });
    el.replaceChildren(make('figure', { class: 'labsupport-boot' },
      bars, text, make('figcaption', {}, button, status)));

    const paint = () => {
      const stages = model.get('stages');
      const now = stages.length ? stages[stages.length - 1][2] : 0;
      const scale = Math.max(now, 8);
      for (const [name, began, ended] of stages) {
        const { bar, seconds, row } = rows.get(name);
        bar.style.left = `${(100 * began) / scale}%`;
        bar.style.width = `${(100 * (ended - began)) / scale}%`;
        seconds.textContent = `${(ended - began).toFixed(1)} s`;
        seconds.style.left = ended / scale < 0.85 ? `calc(${(100 * ended) / scale}% + .4em)` : '';
        seconds.style.right = ended / scale < 0.85 ? '' : `calc(${100 - (100 * ended) / scale}% + .4em)`;
        row.classList.toggle('now', ended === now && model.get('running'));
      }
    };
    let follow = true; // until somebody scrolls up
    text.addEventListener('scroll', () => {
      follow = text.scrollTop + text.clientHeight >= text.scrollHeight - 30;
    });
    const say = () => {
      text.textContent = model.get('console');
      if (follow) text.scrollTop = text.scrollHeight;
    };
    const tell = () => {
      const words = model.get('status');
      if (status.textContent !== words) status.textContent = words; // else it is read out again
    };
    const state = () => { button.hidden = !model.get('running'); paint(); };
    button.addEventListener('click', () => { model.set('stopping', true); model.save_changes(); });
    model.on('change:stages', paint);
    model.on('change:console', say);
    model.on('change:status', tell);
    model.on('change:running', state);
    tell(); state();
    requestAnimationFrame(say); // there is no end to scroll to before it is on the page
  },
};

// The layers of an image, or of two side by side: choose one to see what it adds, changes, deletes.
// The model holds plain data; nothing is computed here but what is counted on the screen.

const HINT = 'Choose a layer: click it, or use the arrow keys.';
const SIGNS = { added: '+', changed: '~', deleted: '−' };

const pixels = (bar, largest, room) => Math.max(3, Math.round((room * bar.size) / Math.max(1, largest)));

function option(bar, largest, room) {
  const length = pixels(bar, largest, room);
  const hidden = bar.size ? Math.round((length * bar.hidden) / bar.size) : 0;
  const shape = make('span', { class: 'bar', 'aria-hidden': 'true', style: `width:${length}px` },
    make('i', { style: `width:${hidden}px` }));
  const first = make('span', { class: 'first' }, make('code', {}, `${bar.number}  ${bar.instruction}`));
  if (bar.cached) first.append(make('b', {}, 'CACHED'));
  const marks = [bar.said, bar.shared && 'in both', bar.cached && 'CACHED'].filter(Boolean);
  return make('div', {
    role: 'option', tabindex: '-1', 'aria-selected': 'false', class: bar.shared ? 'shared' : '',
    'aria-label': `Layer ${bar.number}, ${bar.instruction}: ${marks.join(', ')}`,
  }, first, make('span', { class: 'second' }, shape, make('span', {}, bar.said)));
}

export default {
  render({ model, el }) {
    const { title, towers, largest, height } = model.get('data');
    const stacks = make('div', { class: 'stacks' });
    const options = towers.map((tower, at) => {
      const found = {};
      for (const bar of tower.bars) found[bar.number] = option(bar, largest, towers.length > 1 ? 180 : 420);
      const list = make('div', {
        role: 'listbox', class: `tower tower-${at}`, 'aria-label': `layers of ${tower.name}, the uppermost first`,
      }, ...tower.bars.map((bar) => found[bar.number]));
      if (at > 0) {
        stacks.append(make('div', { class: 'joints', 'aria-hidden': 'true' },
          ...Array.from({ length: height }, (_, row) => {
            const bar = tower.bars.find((each) => each.number === height - row);
            return bar?.shared ? make('span', {}, 'same') : make('span', { class: 'none' });
          })));
      }
      stacks.append(make('section', {}, make('h5', {}, tower.heading), list));
      return found;
    });
    const search = make('input', { type: 'search', size: '16', placeholder: 'part of a path' });
    const facts = make('div', { class: 'facts', role: 'status', 'aria-live': 'polite' }, HINT);
    const body = make('tbody', {});
    const rest = make('p', { class: 'rest' });
    const files = make('div', { class: 'files', hidden: '' },
      make('label', {}, 'path ', search),
      make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'files of the layer' },
        make('table', {}, make('thead', {}, make('tr', {},
          ...['', 'path', 'size', 'still seen?'].map((text) => make('th', { scope: 'col' }, text)))), body)),
      rest);
    const figure = make('figure', { class: 'lab-layers' },
      make('h4', {}, title), stacks, facts, files);
    figure.dataset.lmSuppressShortcuts = 'true';
    el.replaceChildren(figure);

    const bars = (at) => towers[at].bars;
    const chosen = () => {
      const { image, layer } = model.get('selected');
      const bar = towers[image]?.bars.find((each) => each.number === layer);
      return bar && { image, bar };
    };

    const row = (file) => make('tr', { class: file.what },
      make('td', { title: file.what, 'aria-label': file.what }, SIGNS[file.what]),
      make('td', {}, make('code', {}, file.path)), make('td', {}, file.size),
      make('td', {}, file.hidden ? `no: layer ${file.hidden} hides it` : file.what === 'deleted' ? '' : 'yes'));

    const list = (bar) => {
      const found = bar.files.filter((file) => file.path.includes(search.value.trim()));
      body.replaceChildren(...found.map(row));
      rest.textContent = bar.more ? `and ${bar.more} smaller ones` : '';
    };

    const tell = () => {
      const now = chosen();
      options.forEach((found, at) => {
        for (const [number, node] of Object.entries(found)) {
          const isIt = now?.image === at && now.bar.number === Number(number);
          const isTwin = now?.bar.shared && now.bar.number === Number(number);
          node.setAttribute('aria-selected', String(Boolean(isIt)));
          node.classList.toggle('twin', Boolean(isTwin && !isIt));
          node.setAttribute('tabindex', isIt || (!now && at === 0 && Number(number) === bars(0)[0].number) ? '0' : '-1');
        }
        if (now && now.image !== at) found[bars(at)[0].number].setAttribute('tabindex', '0');
      });
      files.hidden = !now;
      if (!now) { facts.textContent = HINT; return; }
      const { bar } = now;
      const { added, changed, deleted } = bar.counts;
      facts.replaceChildren(
        make('strong', {}, `Layer ${bar.number} of ${towers[now.image].name}`), ` ${bar.digest}`,
        make('pre', {}, bar.full),
        `${bar.said}: ${added} names added, ${changed} changed, ${deleted} deleted`,
        bar.shared ? '; both images have this layer, and it is stored once.' : '.');
      list(bar);
    };

    const select = (image, layer) => {
      model.set('selected', { image, layer });
      model.save_changes();
      options[image][layer].focus();
    };

    const where = (node) => {
      for (const [at, found] of options.entries()) {
        for (const [number, each] of Object.entries(found)) {
          if (each === node) return [at, Number(number)];
        }
      }
      return null;
    };

    stacks.addEventListener('click', (event) => {
      const place = where(event.target.closest('[role=option]'));
      if (place) select(...place);
    });
    stacks.addEventListener('keydown', (event) => {
      const place = where(event.target.closest('[role=option]'));
      if (!place) return;
      const [at, number] = place;
      const top = (image) => bars(image)[0].number;
      const moves = {
        ArrowUp: [at, Math.min(number + 1, top(at))], ArrowDown: [at, Math.max(number - 1, 1)],
        Home: [at, top(at)], End: [at, 1], Enter: [at, number], ' ': [at, number],
        ArrowLeft: at > 0 && [at - 1, Math.min(number, top(Math.max(at - 1, 0)))],
        ArrowRight: at + 1 < towers.length && [at + 1, Math.min(number, top(Math.min(at + 1, towers.length - 1)))],
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      event.stopPropagation(); // or the notebook would go to another cell
      if (moves[event.key]) select(...moves[event.key]);
    });
    files.addEventListener('keydown', (event) => event.stopPropagation());
    search.addEventListener('input', () => { const now = chosen(); if (now) list(now.bar); });
    model.on('change:selected', tell);
    tell();
  },
};

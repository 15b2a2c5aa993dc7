// The syscall grid to walk through: by pointer, by arrow keys, by name. The model holds plain data;
// nothing is computed here but what is counted and compared on the screen.

const SHOWN = [
  ['all', 'all calls'],
  ['refused', 'refused or in part'],
  ['different', 'different between processes'],
];

const HINT = 'Point at a square to see its name and the verdict, or click one and use the arrow keys.';

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const labelled = (text, control) => make('label', {}, `${text} `, control);

const choice = (options) =>
  make('select', {}, ...options.map(([value, text]) => make('option', { value }, text)));

function counts(calls, who) {
  const found = { allowed: 0, depends: 0, denied: 0 };
  for (const call of calls) found[call.verdicts[who].kind] += 1;
  return found;
}

function finding(calls, who, name) {
  const { denied, depends } = counts(calls, who);
  if (!denied && !depends) return `${name}: none of ${calls.length} system calls is refused`;
  const part = depends ? `, ${depends} in part` : '';
  return `${name}: ${denied} of ${calls.length} system calls are refused${part}`;
}

export default {
  render({ model, el }) {
    const { who, groups, calls } = model.get('data');
    const state = { who: 0, shown: 'all', query: '', focused: 0, told: false };
    const squares = calls.map((call) =>
      make('span', { role: 'gridcell', tabindex: '-1', 'data-name': call.name }));
    const matches = (call) => {
      const kinds = call.verdicts.map((verdict) => verdict.reason);
      const wanted = state.shown === 'all'
        || (state.shown === 'refused' && call.verdicts[state.who].kind !== 'allowed')
        || (state.shown === 'different' && new Set(kinds).size > 1);
      return wanted && call.name.includes(state.query);
    };

    const title = make('h4', {});
    const process = choice(who.map((name, at) => [at, name]));
    const shown = choice(SHOWN.slice(0, who.length > 1 ? 3 : 2));
    const search = make('input', { type: 'search', size: '14', placeholder: 'mount' });
    const controls = make('div', { class: 'controls' });
    if (who.length > 1) controls.append(labelled('process', process));
    controls.append(labelled('show', shown), labelled('name', search));

    const grid = make('div', { role: 'grid', 'aria-label': 'system calls by what they are about' });
    const tallies = groups.map((group) => {
      const members = calls.map((call, at) => at).filter((at) => calls[at].group === group);
      const tally = make('span', { class: 'tally', 'aria-hidden': 'true' });
      const cells = make('span', { class: 'cells', role: 'presentation' },
        ...members.map((at) => squares[at]));
      grid.append(make('div', { role: 'row' },
        make('span', { role: 'rowheader', class: 'group' }, group), cells, tally));
      return { members, tally };
    });
    const key = make('p', { class: 'key' });
    const detail = make('div', { class: 'detail', role: 'status', 'aria-live': 'polite' });
    const body = make('tbody', {});
    const head = make('tr', {}, ...['number', 'system call', 'about', ...who].map((text) =>
      make('th', { scope: 'col' }, text)));
    const table = make('details', {}, make('summary', {}, 'The same as a table'),
      make('div', { class: 'scroll' }, make('table', {}, make('thead', {}, head), body)));
    const figure = make('figure', { class: 'lab-syscalls' },
      title, controls, grid, key, detail, table);
    el.replaceChildren(figure);

    const tell = (at) => {
      const call = calls[at];
      const rows = call.verdicts.map((verdict, index) => make('tr', {},
        make('th', { scope: 'row' }, who[index]), make('td', {}, verdict.reason)));
      detail.replaceChildren(
        make('strong', {}, call.name), ` (number ${call.number}, ${call.group})`,
        make('table', {}, make('tbody', {}, ...rows)));
    };

    const focus = (at, really) => {
      squares[state.focused].setAttribute('tabindex', '-1');
      state.focused = at;
      squares[at].setAttribute('tabindex', '0');
      if (really) squares[at].focus();
      state.told ||= really;
      if (state.told) tell(at);
    };

    const paint = () => {
      title.textContent = finding(calls, state.who, who[state.who]);
      calls.forEach((call, at) => {
        const { kind, reason } = call.verdicts[state.who];
        squares[at].className = matches(call) ? kind : `${kind} aside`;
        squares[at].setAttribute('aria-label', `${call.name}: ${reason}`);
      });
      for (const { members, tally } of tallies) {
        const refused = members.filter((at) => calls[at].verdicts[state.who].kind === 'denied');
        tally.textContent = refused.length ? `${refused.length} of ${members.length}` : '';
      }
      const { allowed, depends, denied } = counts(calls, state.who);
      const parts = [['allowed', `${allowed} allowed`], ['depends', `${depends} depend on arguments`],
        ['denied', `${denied} refused`]];
      key.replaceChildren(...parts.map(([kind, text]) =>
        make('span', {}, make('i', { class: kind, 'aria-hidden': 'true' }), ` ${text}`)));
      body.replaceChildren(...calls.filter(matches).map((call) => make('tr', {},
        make('td', {}, String(call.number)), make('th', { scope: 'row' }, call.name),
        make('td', {}, call.group),
        ...call.verdicts.map((verdict) => make('td', {}, verdict.reason)))));
      const first = calls.findIndex(matches);
      if (first >= 0 && !matches(calls[state.focused])) focus(first, false);
    };

    const middle = (at) => {
      const box = squares[at].getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };

    // to the nearest matching square of the next line up or down
    const vertical = (way) => {
      const [x, y] = middle(state.focused);
      let best = null;
      calls.forEach((call, at) => {
        const [left, top] = middle(at);
        const down = (top - y) * way;
        if (down < 4 || !matches(call)) return;
        const far = down * 1000 + Math.abs(left - x);
        if (!best || far < best.far) best = { at, far };
      });
      return best?.at;
    };

    const order = tallies.flatMap(({ members }) => members);
    const horizontal = (way) => {
      let place = order.indexOf(state.focused) + way;
      while (place >= 0 && place < order.length && !matches(calls[order[place]])) place += way;
      return order[place];
    };

    grid.addEventListener('keydown', (event) => {
      const last = order.filter((at) => matches(calls[at]));
      const moves = {
        ArrowLeft: () => horizontal(-1), ArrowRight: () => horizontal(1),
        ArrowUp: () => vertical(-1), ArrowDown: () => vertical(1),
        Home: () => last[0], End: () => last[last.length - 1],
      };
      if (!moves[event.key]) return;
      event.preventDefault();
      event.stopPropagation(); // or the notebook would go to another cell
      const at = moves[event.key]();
      if (at !== undefined) focus(at, true);
    });
    const under = (event) => squares.indexOf(event.target.closest('[role=gridcell]'));
    grid.addEventListener('pointerover', (event) => { if (under(event) >= 0) tell(under(event)); });
    grid.addEventListener('pointerleave', () => { if (state.told) tell(state.focused); });
    grid.addEventListener('click', (event) => { if (under(event) >= 0) focus(under(event), true); });
    process.addEventListener('change', () => { state.who = Number(process.value); paint(); if (state.told) tell(state.focused); });
    shown.addEventListener('change', () => { state.shown = shown.value; paint(); });
    search.addEventListener('input', () => { state.query = search.value.trim(); paint(); });
    search.addEventListener('keydown', (event) => event.stopPropagation());

    paint();
    focus(order[0], false);
    detail.textContent = HINT;
  },
};

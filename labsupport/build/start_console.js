// Choose two forms, type arguments, press “docker run”. Python builds and runs; here is only shown.

export default {
  render({ model, el }) {
    const choice = (lines) =>
      make('select', {}, ...lines.map((text, at) => make('option', { value: at }, text)));
    const { entrypoints, cmds } = model.get('choices');
    const entrypoint = choice(entrypoints);
    const cmd = choice(cmds);
    const typed = make('input', { type: 'text', size: '18', spellcheck: 'false' });
    const button = make('button', { type: 'button', class: 'jupyter-button' }, '▶ docker run');
    const status = make('span', { role: 'status' });
    const image = make('img', {});
    const form = make('div', { class: 'form' },
      make('label', {}, 'ENTRYPOINT ', entrypoint), make('label', {}, 'CMD ', cmd),
      make('label', {}, 'arguments ', typed), button, status);
    const root = make('div', { class: 'lab-starts' }, form, image);
    // JupyterLab would take the keys
    root.dataset.lmSuppressShortcuts = 'true';
    root.addEventListener('keydown', (event) => event.stopPropagation());
    el.replaceChildren(root);

    const run = () => model.send({
      entrypoint: Number(entrypoint.value), cmd: Number(cmd.value), typed: typed.value });
    button.addEventListener('click', run);
    typed.addEventListener('keydown', (event) => { if (event.key === 'Enter') run(); });

    const state = () => {
      button.disabled = model.get('busy');
      status.textContent = model.get('status');
    };
    const select = () => {
      const chosen = model.get('chosen');
      entrypoint.value = chosen.entrypoint;
      cmd.value = chosen.cmd;
      typed.value = chosen.typed;
    };
    model.on('change:busy', state);
    model.on('change:status', state);
    select(); state();
    return paint(model, image);
  },
};

// Choose two forms, type arguments, press “docker run”. Python builds and runs; here is only shown.

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

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

    let url = null;
    const paint = () => {
      const bytes = model.get('png');
      if (!bytes || !bytes.byteLength) return;
      const old = url;
      url = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
      image.src = url;
      image.width = model.get('width');
      image.alt = model.get('alt');
      if (old) setTimeout(() => URL.revokeObjectURL(old), 500);
    };
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
    model.on('change:png', paint);
    model.on('change:busy', state);
    model.on('change:status', state);
    select(); paint(); state();
    return () => { if (url) URL.revokeObjectURL(url); };
  },
};

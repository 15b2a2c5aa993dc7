// A JupyterLite kernel whose Python runs in the machine of this page, and two buttons that turn the
// machine back. Written as the container that JupyterLab's loader asks for; nothing is bundled.
(() => {
  const NAME = "lab-page";
  const HERE = new URL("./", document.currentScript.src);
  let scope;
  performance.setResourceTimingBufferSize(5000);
  const take = async name => (await Object.values(scope[name])[0].get())();
  (window._JUPYTERLAB ??= {})[NAME] = {
    init: shared => void (scope = shared),
    get: async () => {
      const [services, signaling, apputils, mainmenu] = await Promise.all(
        ["@jupyterlite/services", "@lumino/signaling", "@jupyterlab/apputils", "@jupyterlab/mainmenu"].map(take));
      const { pack, unpack } = await import(new URL("machine/machine.js", HERE));
      const plugins = makePlugins({ ...services, ...signaling, ...apputils, ...mainmenu, pack, unpack });
      return () => ({ __esModule: true, default: plugins });
    },
  };

  const UNREACHED = "A file of this page could not be fetched: no network, or the server does not answer.";
  const LATER = "Docker starts when a cell first asks for it, which takes a minute: it was not fetched as it runs";
  const FULL = "This browser’s storage is full: the machine is fetched again at the next visit, and what you write may be lost. " +
    "What to do: free some space, and download your notebooks (File, Download).";
  const PROGRESS = "my_progress.jsonl"; // beside the notebooks, where the reader can download it
  // JupyterLab takes it out of the address, and opens it again after a reload.
  const ADDRESSED = new URLSearchParams(location.search).get("path");
  const ASKED = ADDRESSED ?? sessionStorage.getItem(NAME) ?? "";
  sessionStorage.setItem(NAME, ASKED);
  const SETTLED = 700; // ms without a running cell, after which this moment is kept
  const UNUSED = 8000; // ms without one, after which the machine may warm up

  // The machine needs nothing of JupyterLab, and starts while that is fetched; unless the reader is to be asked first.
  const { connection, deviceMemory } = navigator;
  const facts = () => fetch(new URL("machine/machine.json", HERE)).then(answer => answer.json()).catch(() => null);
  const hired = () => new Worker(new URL("machine/worker.js", HERE), { type: "module" });
  let early = null; // until JupyterLab has it
  if (!connection?.saveData && !(deviceMemory <= 2)) early = startEarly();

  function startEarly() {
    const worker = hired(), heard = [], made = facts();
    worker.onmessage = worker.onerror = event => heard.push(event);
    made.then(found => found && begin(worker, found, asksForEngine(found)));
    return { worker, heard, made };
  }

  function begin(worker, made, withEngine) {
    worker.postMessage({ what: "start", ...made, withEngine });
  }

  // A notebook that is open, or that the address asks for, is about Docker.
  function asksForEngine({ engine }) {
    const open = [...window.jupyterapp?.shell.widgets("main") ?? []].map(widget => widget.context?.path);
    return [ASKED, ...open].some(path => engine.notebooks.includes(path));
  }

  // The one machine of this page: its worker, and the kernels that are processes in it.
  class PageMachine {
    // `shown` is when JupyterLab stands: what it is given to tell before that, nobody sees.
    constructor(lib, shown) {
      Object.assign(this, { lib, shown, kernels: new Map(), next: 1, asked: new Map(), busy: new Set() });
      this.bar = document.body.appendChild(document.createElement("div"));
      this.bar.setAttribute("role", "status");
      this.bar.style = "position:fixed;bottom:0;left:0;right:0;z-index:9999;padding:.5em 1em;font-size:14px;" +
        "color:var(--jp-ui-font-color1)";
      this.boot();
    }

    get contents() {
      return window.jupyterapp.serviceManager.contents;
    }

    boot() {
      this.worker?.terminate();
      clearTimeout(this.warming);
      this.now = this.before = null;
      this.turn = 0;
      this.busy.clear();
      this.asked.clear();
      this.say("The machine is starting …");
      const { worker = hired(), heard = [], made } = early ?? {};
      early = null; // the next machine is a fresh one
      this.ready = new Promise((done, failed) => {
        const stopped = why => (failed(new Error(why)),
          this.say(`The machine does not run: ${why}. What to do: press “Fresh machine”, or load the page again.`));
        const employ = (worker, unloaded) => {
          this.worker = worker;
          worker.onmessage = ({ data }) => this.take(data, done, stopped);
          worker.onerror = ({ message }) => message ? stopped(message) : unloaded();
        };
        // A browser gives up what it is fetching when the network changes: that is no reason to give up.
        employ(worker, () => (employ(hired(), () => stopped("its worker could not be loaded")), this.fetch()));
      });
      this.ready.then(() => (this.watch(), setTimeout(() => this.keepFiles(), UNUSED / 2), this.warmUp()), () => {});
      for (const event of heard) event.type === "error" ? worker.onerror(event) : worker.onmessage(event);
      this.fetch(made);
    }

    async fetch(started) {
      const { worker } = this;
      const made = await (started ?? facts());
      if (!made) return this.say(`${UNREACHED} What to do: load the page again.`);
      if (started) return;
      const files = [made.state, ...asksForEngine(made) ? [made.engine] : []];
      if (!await this.mayStart(files))
        return this.say("The machine was not started; what stands below the cells was saved elsewhere. " +
          "What to do: press “Fresh machine” when it may start.");
      begin(worker, made, files.includes(made.engine));
    }

    // The reader is asked where the machine costs money, or the tab may not survive it.
    async mayStart(files) {
      const { showDialog, Dialog } = this.lib;
      const kept = await Promise.all(files.map(({ url }) => window.caches?.match(new URL(`machine/${url}`, HERE))));
      const size = files.reduce((sum, file, at) => sum + (kept[at] ? 0 : file.size), 0);
      const body = [
        connection?.saveData && size && `Your browser is asked to save data. The machine is a download of ${Math.round(size / 1e6)} MB, once.`,
        deviceMemory <= 2 && `This device has ${deviceMemory} GB of memory, and the machine takes about one: the browser may end this tab.`,
      ].filter(Boolean).join(" ");
      const buttons = [Dialog.cancelButton({ label: "Only Read" }), Dialog.okButton({ label: "Start" })];
      return !body || (await showDialog({ title: "Start the machine?", body, buttons })).button.accept;
    }

    // A worker that the browser has ended says nothing: ask it from time to time.
    watch() {
      const worker = this.worker;
      let unanswered = 0;
      const timer = setInterval(() => {
        if (worker !== this.worker) return clearInterval(timer);
        if (unanswered++ === 4) this.say("The machine does not answer any more: the browser has ended or stopped it. " +
          "What to do: press “Fresh machine”.");
        this.ask({ what: "ping" }).then(() => (unanswered > 4 && this.say(""), (unanswered = 0)));
      }, 5000);
    }

    // What was loaded before the service worker was there is given to it, for a visit without a network.
    async keepFiles() {
      const cache = await window.caches?.open("lab-page-files");
      const machine = ["worker.js", "machine.js", "machine.json", "v86/libv86.mjs", "v86/v86.wasm"];
      const loaded = [location.href, ...performance.getEntriesByType("resource").map(entry => entry.name)];
      const urls = new Set([...loaded, ...machine.map(name => new URL(`machine/${name}`, HERE).href)]);
      const ours = [...urls].filter(url => url.startsWith(new URL("../../../", HERE)) && !url.includes("/machine/state/"));
      const added = await Promise.allSettled(ours.map(async url => await cache.match(url) || cache.add(url)));
      this.offline = added.every(each => each.status === "fulfilled");
      if (added.some(each => each.reason?.name === "QuotaExceededError")) this.isFull();
    }

    isFull() {
      this.warn(FULL);
      this.isFull = () => {}; // once is enough
    }

    warn(words) {
      this.shown.then(() => this.lib.Notification.warning(words, { autoClose: false }));
    }

    // `part` of the bar, from 0 to 1, is filled.
    say(words, part = 0) {
      this.bar.textContent = words;
      this.bar.hidden = !words;
      this.bar.style.background = `linear-gradient(to right, var(--jp-brand-color3) ${100 * part}%, var(--jp-layout-color2) 0)`;
    }

    take(data, started, stopped) {
      const { what, words } = data;
      if (data.channel) this.kernels.get(data.channel)?.heard(this.lib.unpack(data.payload));
      else if (data.id) this.asked.get(data.id)?.(data.answer);
      else if (what === "started") this.say(""), started();
      else if (what === "failed") stopped(words);
      else if (what === "lost") this.say(`${UNREACHED} It is asked for again; cells wait until then.`), (this.lost = true);
      else if (what === "found" && this.lost) this.say(""), (this.lost = false);
      else if (what === "download") this.download(words);
      else if (what === "full") this.isFull();
      else if (what === "later") this.warn(`${LATER} (${words}).`);
      else if (what === "told" && words.progress) this.keepProgress(words.progress);
      else if (what === "told" && words.ended) this.kernels.get(words.ended)?.ended(words.status);
    }

    download({ name, loaded, total }) {
      const [now, all] = [loaded, total].map(bytes => Math.round(bytes / 1e6));
      this.say(loaded < total ? `${name} is being fetched, once: ${now} of ${all} MB` : "The machine is starting …", loaded / total);
    }

    // Guesses and exercises outlive the machine.
    async keepProgress(content) {
      this.progress = content;
      const file = { type: "file", format: "text", mimetype: "text/plain", content };
      await this.contents.save(PROGRESS, file).catch(() => this.isFull());
    }

    async giveProgress() {
      const whole = { content: true, type: "file", format: "text" };
      this.progress ??= await this.contents.get(PROGRESS, whole).then(file => file.content, () => ""); // none yet
      this.order({ order: "progress", text: this.progress });
    }

    ask(message) {
      const id = crypto.randomUUID();
      return new Promise(done => {
        this.asked.set(id, answer => (this.asked.delete(id), done(answer)));
        this.worker.postMessage({ id, ...message });
      });
    }

    order(words) {
      this.worker.postMessage({ what: "order", words });
    }

    async start(kernel) {
      kernel.channel ??= this.next++;
      this.kernels.set(kernel.channel, kernel);
      await this.ready;
      await this.giveProgress();
      this.order({ order: "start", channel: kernel.channel });
    }

    // A cell begins after a rest: what was kept in that rest is the moment before it.
    begins(channel) {
      if (!this.busy.size) {
        this.turn++;
        if (this.now) this.before = this.now;
        this.now = null;
      }
      this.busy.add(channel);
      clearTimeout(this.timer);
      clearTimeout(this.warming);
    }

    ends(channel) {
      this.busy.delete(channel);
      clearTimeout(this.timer);
      if (this.busy.size) return;
      this.order({ order: "progress", size: this.progress?.length ?? 0 });
      this.timer = setTimeout(() => this.keep(), SETTLED);
      if (this.cold) this.warmUp();
    }

    // A machine that has just been restored is slow, until it has run most code: it does while the reader reads.
    warmUp() {
      this.cold = true;
      clearTimeout(this.warming);
      this.warming = setTimeout(() => (this.order({ order: "rehearse" }), (this.cold = false)), UNUSED);
    }

    async keep() {
      const channels = [...this.kernels.keys()], { turn } = this;
      const number = await this.ask({ what: "keep", but: this.before?.number });
      if (number) this[turn === this.turn ? "now" : "before"] = { number, channels };
      else if (!this.busy.size) this.timer = setTimeout(() => this.keep(), SETTLED); // a message was under way
    }

    async back() {
      const { before } = this;
      if (!before) return "There is no earlier moment yet: run a cell first.";
      const began = performance.now();
      await this.ask({ what: "restore", moment: before.number });
      this.now = before;
      this.busy.clear();
      this.warmUp();
      await this.giveProgress();
      for (const [channel, kernel] of this.kernels) {
        kernel.idle();
        if (!before.channels.includes(channel)) this.start(kernel); // it came later
      }
      return `The machine is as it was when it last rested, before the last run (${((performance.now() - began) / 1000).toFixed(1)} s).`;
    }

    async fresh() {
      this.boot();
      await Promise.all([...this.kernels.values()].map(kernel => this.start(kernel)));
      for (const kernel of this.kernels.values()) kernel.idle();
      return "This is a fresh machine: nothing has run in it yet.";
    }
  }

  function makePlugins(lib) {
    const { IKernelSpecs, IKernelClient, Signal, ToolbarButton, Notification, IMainMenu } = lib;
    let machine;

    class PageKernel {
      constructor({ id, name, location, sendMessage }) {
        Object.assign(this, { id, name, location, sendMessage, isDisposed: false, session: "" });
        this.disposed = new Signal(this);
        this.open = new Map(); // requests that have not become idle
        (this.ready = machine.start(this)).catch(() => {}); // the bar says it
      }

      async handleMessage(message) {
        await machine.ready; // a fresh one may be on its way
        this.session = message.header.session;
        if (message.header.msg_type === "execute_request") machine.begins(this.channel);
        this.open.set(message.header.msg_id, message.header);
        const payload = lib.pack(message);
        machine.worker.postMessage({ what: "send", channel: this.channel, payload }, [payload.buffer]);
      }

      heard(message) {
        const parent = message.parent_header;
        delete message.content.language_info?.version; // of the machine, not of the notebook
        message.header.session = parent.session || this.session;
        this.sendMessage(message);
        if (message.header.msg_type === "status" && message.content.execution_state === "idle") this.closed(parent.msg_id);
      }

      closed(id) {
        this.open.delete(id);
        const runs = [...this.open.values()].some(header => header.msg_type === "execute_request");
        if (!runs) machine.ends(this.channel);
      }

      // Whatever waited for an answer gets none: the machine is at another moment.
      idle() {
        for (const parent of this.open.values()) {
          const say = (channel, msg_type, content) => this.sendMessage({
            channel, content, metadata: {}, buffers: [], parent_header: parent,
            header: { ...parent, msg_type, msg_id: crypto.randomUUID() } });
          if (parent.msg_type === "execute_request")
            say("shell", "execute_reply", { status: "aborted", execution_count: 0 });
          say("iopub", "status", { execution_state: "idle" });
        }
        this.open.clear();
      }

      ended(status) {
        const text = `Python ended (${status < 0 ? `signal ${-status}` : `exit status ${status}`}). Restart the kernel.\n`;
        for (const parent of this.open.values())
          if (parent.msg_type === "execute_request")
            this.sendMessage({ channel: "iopub", metadata: {}, buffers: [], parent_header: parent,
              header: { ...parent, msg_type: "stream", msg_id: crypto.randomUUID() }, content: { name: "stderr", text } });
        this.idle();
      }

      interrupt() {
        machine.order({ order: "interrupt", channel: this.channel });
      }

      dispose() {
        if (this.isDisposed) return;
        this.isDisposed = true;
        machine.order({ order: "end", channel: this.channel });
        machine.kernels.delete(this.channel);
        machine.ends(this.channel);
        this.disposed.emit();
      }
    }

    const kernel = {
      id: `${NAME}:kernel`, autoStart: true, requires: [IKernelSpecs, IKernelClient],
      activate(app, specs, client) {
        machine = window.labMachine = new PageMachine(lib, app.restored); // it starts while JupyterLab does
        const spec = { name: "python3", display_name: "Python (Linux in this page)", language: "python", argv: [], resources: {} };
        const kernels = new Map();
        specs.register({ spec, create: async options => {
          const made = new PageKernel(options);
          kernels.set(options.id, made);
          return made;
        } });
        // JupyterLite's own interrupt only forgets the cells that wait
        const forget = client.interrupt.bind(client);
        client.interrupt = async id => {
          kernels.get(id)?.interrupt();
          await forget(id);
        };
      },
    };

    const buttons = {
      id: `${NAME}:undo`, autoStart: true,
      activate(app) {
        const button = (label, tooltip, act) => new ToolbarButton({ label, tooltip, onClick: async () => {
          Notification.info(await machine[act](), { autoClose: 4000 });
        } });
        app.docRegistry.addWidgetExtension("Notebook", { createNew(panel) {
          const back = button("↶ Back", "Put the machine back to before the last cell: memory, processes, mounts, cgroups. Your text stays.", "back");
          const fresh = button("⟳ Fresh machine", "Start from a machine in which nothing has run. Your text stays.", "fresh");
          const place = () => {  // JupyterLab's own items come when its settings are read
            if (panel.isDisposed) return;
            if (panel.toolbar.insertAfter("cellType", "machine-back", back))
              panel.toolbar.insertAfter("machine-back", "machine-fresh", fresh);
            else setTimeout(place, 100);
          };
          place();
        } });
      },
    };
    const sources = {
      id: `${NAME}:sources`, autoStart: true, optional: [IMainMenu],
      activate(app, menu) {
        app.commands.addCommand(`${NAME}:sources`, {
          label: "What This Page Is Made Of", execute: () => void window.open(new URL("../../../sources/", HERE)) });
        menu?.helpMenu.addGroup([{ command: `${NAME}:sources` }]);
      },
    };
    // JupyterLab keeps what is open a second after it was opened: a page that is loaded again before would show nothing.
    const again = {
      id: `${NAME}:again`, autoStart: true,
      activate(app) {
        const isOpen = () => [...app.shell.widgets("main")].some(widget => widget.context);
        const open = () => void app.commands.execute("docmanager:open", { path: ASKED });
        if (ASKED && !ADDRESSED) app.restored.then(() => isOpen() || open());
      },
    };
    return [kernel, buttons, sources, again];
  }
})();

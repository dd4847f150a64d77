"""Copies of the project in which sources are changed, compiled as the production contract is, and judged by the tests."""
import concurrent.futures, json, os, queue, re, shutil, subprocess, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPIED = ("src", "test", "scripts", "artifacts", "foundry.toml")
# The tests in two parts that together are all: what takes seconds first, the other part only for what that does not notice.
SLOW = "^(testFuzz|invariant|test_handler)"
PARTS = (("--no-match-test", SLOW), ("--match-test", SLOW))
CODE_BYTES_MAX = "65536"


class Bench:
    """One copy under `top`. The tests read artifacts/ when they run, so a change of src/ compiles only the adjudicator again."""

    def __init__(self, top):
        self.work = os.path.join(top, "contracts")
        os.makedirs(self.work)
        shutil.copytree(os.path.join(ROOT, "..", "vectors"), os.path.join(top, "vectors"))
        for name in COPIED:
            source = os.path.join(ROOT, name)
            (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, os.path.join(self.work, name))
        os.symlink(os.path.join(ROOT, "node_modules"), os.path.join(self.work, "node_modules"))
        # what is changed and compiled; the tests keep the sources that they import
        self.sources = os.path.join(top, "sources")
        os.makedirs(self.sources)
        os.symlink(os.path.join(ROOT, "node_modules"), os.path.join(self.sources, "node_modules"))
        shutil.copytree(os.path.join(ROOT, "src"), os.path.join(self.sources, "src"))
        self.start_compiler()

    def start_compiler(self):
        script = os.path.join(self.work, "scripts", "planting", "compile.js")
        self.compiler = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def compile(self):
        """Puts the changed adjudicator into artifacts/; False when it does not build."""
        built = self.built()
        if "error" in built:
            # An old compiler may be at its end, and refuse everything from then on: only a new one is believed.
            self.end()
            self.start_compiler()
            built = self.built()
        if "error" in built:
            return False
        with open(os.path.join(ROOT, "artifacts", "Adjudicator.json")) as file:
            artifact = json.load(file)
        with open(os.path.join(self.work, "artifacts", "Adjudicator.json"), "w") as file:
            json.dump({**artifact, **built}, file)
        return True

    def built(self):
        self.compiler.stdin.write(self.sources + "\n")
        self.compiler.stdin.flush()
        return json.loads(self.compiler.stdout.readline())

    def changed(self, file, old, new):
        """Compiles with `old`, which is in `file` once, replaced by `new`; the source is as before afterwards."""
        path = os.path.join(self.sources, "src", file)
        with open(path) as source:
            good = source.read()
        assert good.count(old) == 1, f"{file} has it {good.count(old)} times: {old}"
        try:
            with open(path, "w") as source:
                source.write(good.replace(old, new))
            return self.compile()
        finally:
            with open(path, "w") as source:
                source.write(good)

    def tests(self):
        """The name of a test that fails, None when all pass."""
        for n, part in enumerate(PARTS):
            # each part has a cache of its own: forge compiles what a part needs and forgets the rest
            cache = {"FOUNDRY_OUT": f"out/{n}", "FOUNDRY_CACHE_PATH": f"cache/{n}"}
            run = subprocess.run(
                ["scripts/test", "--fail-fast", "--code-size-limit", CODE_BYTES_MAX, *part],
                cwd=self.work,
                env={**os.environ, **cache, "FOUNDRY_PROFILE": "test"},
                capture_output=True,
                text=True,
            )
            failed = re.findall(r"^\[FAIL.*\] (\w+)\(", run.stdout, re.M)
            if run.returncode != 0 and failed:
                return failed[0]
            if run.returncode != 0 or failed or not re.search(r"[1-9]\d* tests passed, 0 failed", run.stdout):
                raise RuntimeError(f"the tests do not run: {run.stdout[-2000:]}{run.stderr[-2000:]}")
        return None

    def end(self):
        self.compiler.stdin.close()
        self.compiler.wait()


def unchanged_passes(bench):
    """What is planted must be all that the tests can notice."""
    assert bench.compile(), "the unchanged sources do not build"
    failed = bench.tests()
    assert failed is None, f"{failed} fails without a planted bug"


def judge(changes, jobs, judged):
    """Judges (name, file, old, new) of every change with `jobs` copies at a time. `judged(name, built, failed)` is called in turn
    as each is done: whether it compiles, and a test that fails or None."""
    top = tempfile.mkdtemp()
    benches = []
    try:
        benches.append(Bench(os.path.join(top, "0")))
        unchanged_passes(benches[0])
        for n in range(1, jobs):
            benches.append(Bench(os.path.join(top, str(n))))
            for built in ("out", "cache"):
                shutil.copytree(os.path.join(benches[0].work, built), os.path.join(benches[n].work, built))
        _in_turns(benches, changes, judged)
    finally:
        for bench in benches:
            bench.end()
        shutil.rmtree(top)


def _in_turns(benches, changes, judged):
    free = queue.Queue()
    for bench in benches:
        free.put(bench)

    def one(change):
        name, file, old, new = change
        bench = free.get()
        try:
            built = bench.changed(file, old, new)
            return name, built, bench.tests() if built else None
        finally:
            free.put(bench)

    with concurrent.futures.ThreadPoolExecutor(len(benches)) as pool:
        for done in concurrent.futures.as_completed([pool.submit(one, change) for change in changes]):
            judged(*done.result())

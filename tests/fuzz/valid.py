"""Valid job files of every format, with all keys and all kinds of arrays: where the mutations begin."""

YAML = """\
name: campaign
defaults: {cores: 1, time: 10m, env: {LANG: C}}
limits: {licence: 4, db: 10}
jobs:
  - name: prepare
    command: ./prepare.sh --out data
    start_after: 1h
  - &sim
    name: sim
    array: 0-98:2
    command: ["{dir}/sim", --seed, "{index}", 007]
    after: prepare
    cores: {min: 2, max: 8}
    memory: 2GiB
    gpus: 0.5
    nodes: 2
    exclusive: false
    spread: true
    resources: {fpga: 1}
    labels: [fast, big]
    variants: [{gpus: 1}, {cores: 16, memory: 500MB}]
    time: 1h30m
    estimate: 0:45:00
    grace: 10s
    retries: {count: 2, delay: 10s, backoff: 2, max_delay: 10m, retry_on: [1, timed_out, out_of_memory]}
    memory_growth: 1.5
    priority: -10
    max_parallel: 100
    max_fails: 10
    uses: {licence: 1}
    hold: true
    on_lost: fail
    on_silence: rerun
    signal: USR1@90s
    output_limit: 100MB
    env: {OMP_PROC_BIND: "true", SCALE: 1.50}
    cwd: runs/{index}
    stdin: in/{index}.txt
    stdout: out/{index}.log
    stderr: stdout
    modules: [gcc/12, openmpi]
    venv: ~/env
    setup: |
      ulimit -s unlimited
      echo {index}
  - name: polish
    array: [a, b, 'c d', 3.10]
    command: ./polish {value} {value:raw} {{value}} ${x}
    after: {job: sim, when: finished}
    start_after: 2026-01-01T00:00
  - name: shine
    array: {product: {x: [1, 2, 3], y: 0-9}}
    command: ./shine {x} {y}
    after: [prepare, {job: polish, when: started}]
  - name: gloss
    array: 0-29%10
    command: ./gloss {index} {task} {attempt} {cores} {job} {name}
    after: {job: shine, each: true}
    same_node: true
"""

CSV_JOBS = """\
jobs:
  - name: sim
    array: {csv: rows.csv}
    command: ./sim {x} {label}
    cwd: runs/{label}
  - name: check
    array: {csv: rows.csv}
    command: [check, "{label}"]
    after: {job: sim, each: true}
"""

JSON_JOBS = """\
{"name": "campaign", "limits": {"db": 2},
 "jobs": [
  {"name": "sim", "array": {"json": "rows.json"}, "command": "./sim {x} {y}", "cores": 0.5, "uses": {"db": 1},
   "retries": {"count": 1, "delay": "5s"}, "env": {"A": "b", "N": 5}},
  {"name": "list", "array": {"lines": "rows.txt"}, "command": ["cat", "{line}"], "after": ["sim"]},
  {"name": "pairs", "array": {"zip": {"a": [1, 2], "b": ["x", "y"]}}, "command": "echo {a} {b}",
   "after": [{"job": "list", "when": "failed"}]}
 ]}
"""

TOML_JOBS = """\
name = "campaign"
[limits]
db = 2
[defaults]
time = "10m"
[[jobs]]
name = "sim"
array = "0-9"
command = ["sim", "{index}"]
memory = "2G"
cores = {min = 1, max = 4}
[jobs.env]
A = "b"
[[jobs]]
name = "polish"
command = '''
polish all
'''
after = {job = "sim", when = "finished"}
uses.db = 1
"""

LINES = """\
# a list
echo one
sleep 1; echo "two words"

./three {not_a_placeholder} ${HOME}
"""

VALID = [
    {"c.yaml": YAML},
    {"c.yaml": CSV_JOBS, "rows.csv": 'x,label\n1,a\n2.50,"b, c"\n3,"d ""e""\nf"\n'},
    {
        "c.json": JSON_JOBS,
        "rows.json": '[{"x": 1, "y": "a"},\n {"y": "b", "x": 2.5e3}]\n',
        "rows.txt": "one\ntwo words\n\n",
    },
    {"c.toml": TOML_JOBS},
    {"commands": LINES},
]
"""Each by the names of its files, the job file first."""

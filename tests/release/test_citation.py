"""What is said of a version in several files agrees."""

import re
from pathlib import Path

import lowres_d2

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_and_licence():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == lowres_d2.__version__
    assert f'license = "{cited["license"]}"' in read("pyproject.toml")


def test_the_changelog_begins_with_what_is_next_or_with_this_version():
    first = re.findall(r"^## \[(.*?)\]", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert first in ("Unreleased", lowres_d2.__version__)


def test_the_papers_are_cited_as_their_readmes_do():
    papers = yaml.safe_load(read("CITATION.cff"))["references"]
    assert len(papers) == len([*ROOT.glob("projects/*/README.md")])
    heads = [" ".join(path.read_text().split())[:600] for path in ROOT.glob("projects/*/README.md")]
    for paper in papers:
        authors = ", ".join(f"{a['given-names']} {a['family-names']}" for a in paper["authors"])
        (head,) = [head for head in heads if f"**{paper['title']}.**" in head]
        assert authors in head and str(paper["year"]) in head

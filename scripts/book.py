#!/usr/bin/env python3
"""Prepares the book for mdBook, and checks what mdBook made of it. Used by scripts/book.sh.

    book.py prepare FOLDER    lay out FOLDER for mdBook: book.toml, and each page that SUMMARY.md names
    book.py check FOLDER      follow each link of the built pages; write the policy for their scripts

Pages outside of docs/ are chapters too. Links between pages are rewritten to where the pages are in
the book. A link to a file that is no page becomes its text: a reader of the book has no sources.
"""
import base64
import hashlib
import html.parser
import os
import pathlib
import posixpath
import re
import shutil
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^\s*(```|~~~)")
CODE = re.compile(r"(`+[^`]*`+)")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def prepare(folder):
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "src"
    pages.mkdir(parents=True)
    shutil.copy(ROOT / "docs/book.toml", folder / "book.toml")
    summary = (ROOT / "docs/SUMMARY.md").read_text(encoding="utf-8")
    places = {}
    for target in re.findall(r"\]\(([^)]+)\)", summary):
        source = posixpath.normpath("docs/" + target)
        places[source] = place(source)
    if len(set(places.values())) != len(places):
        sys.exit("error: two pages of docs/SUMMARY.md have the same place in the book")
    missing = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
               if path.name != "SUMMARY.md" and str(path.relative_to(ROOT)) not in places]
    if missing:
        sys.exit("error: docs/SUMMARY.md does not name " + ", ".join(missing))
    for source, target in places.items():
        page = pages / target
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(rewritten(source, places, pages), encoding="utf-8")
    summary = re.sub(r"\]\(([^)]+)\)",
                     lambda link: f"]({places[posixpath.normpath('docs/' + link[1])]})", summary)
    (pages / "SUMMARY.md").write_text(summary, encoding="utf-8")


def place(source):
    """Where a page of the repository is in the book."""
    if source.startswith("docs/"):
        return source[len("docs/"):]
    folder, name = posixpath.split(source)
    return (folder.replace("/", "-") if name == "README.md" else name[:-len(".md")].lower()) + ".md"


def rewritten(source, places, pages):
    """The text of a page, with its links as they are in the book."""
    fenced = False
    lines = []
    for line in (ROOT / source).read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            line = relinked(line, source, places, pages)
        lines.append(line)
    return "\n".join(lines) + "\n"


def relinked(line, source, places, pages):
    # A link's text may hold code, but code holds no link.
    held = []

    def hold(code):
        held.append(code[0])
        return f"\0{len(held) - 1}\0"

    def link(match):
        image, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return match[0]
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        here = posixpath.dirname(places[source]) or "."
        if whole in places:
            moved = posixpath.relpath(places[whole], here)
            return f"[{text}]({moved}{'#' + anchor if anchor else ''})"
        if image or whole == "docs/openapi.json":
            moved = whole[len("docs/"):] if whole.startswith("docs/") else whole
            (pages / moved).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / whole, pages / moved)
            return f"{image}[{text}]({posixpath.relpath(moved, here)})"
        return text

    line = LINK.sub(link, CODE.sub(hold, line))
    return re.sub("\0(\\d+)\0", lambda number: held[int(number[1])], line)


class Page(html.parser.HTMLParser):
    """What a built page links to, what may be linked to in it, and what it runs."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.links, self.ids, self.scripts, self.styles, self.refused = [], set(), [], [], []
        self.inline = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        for name in ("href", "src"):
            if given.get(name):
                self.links.append(given[name])
        self.refused += [name for name in given if name.startswith("on") or name == "style"]
        if tag in ("script", "style") and not given.get("src"):
            self.inline = self.scripts if tag == "script" else self.styles
            self.inline.append("")

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inline = None

    def handle_data(self, text):
        if self.inline is not None:
            self.inline[-1] += text


def check(folder):
    built = folder / "html"
    pages = {}
    for path in sorted(built.rglob("*.html")):
        # mdBook's only style in an attribute, which the policy would have to allow for everything.
        text = path.read_text(encoding="utf-8").replace(' style="clear: both"', "")
        if path.relative_to(built).parts[0] == "zh":
            text = text.replace('<html lang="en"', '<html lang="zh-Hans"', 1)
        path.write_text(text, encoding="utf-8")
        pages[path] = Page(text)
    wrong, links, digests = [], 0, {"script": set(), "style": set()}
    for path, page in pages.items():
        name = path.relative_to(built)
        wrong += [f"{name}: the attribute {each} needs 'unsafe-inline'" for each in page.refused]
        for kind, texts in (("script", page.scripts), ("style", page.styles)):
            for text in texts:
                digest = hashlib.sha256(text.encode()).digest()
                digests[kind].add("'sha256-" + base64.b64encode(digest).decode() + "'")
        # 404.html is shown at any address, toc.html inside of other pages.
        if path.name in ("404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            target = path
            if parts.path:
                target = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(parts.path)))
            if not target.is_file():
                wrong.append(f"{name}: {link}: there is no such page")
            elif parts.fragment and target in pages:
                if urllib.parse.unquote(parts.fragment) not in pages[target].ids:
                    wrong.append(f"{name}: {link}: there is no such heading")
    if wrong:
        sys.exit("\n".join(["error: dead links, or scripts and styles in attributes:", *wrong]))
    if len(pages) < 50 or links < 500:
        sys.exit(f"error: only {len(pages)} pages and {links} links: was the whole book built?")
    (folder / "policy.txt").write_text(policy(digests), encoding="utf-8")
    print(f"the book: {len(pages)} pages, {links} links, none dead")


def policy(digests):
    """What the pages may load and run: files of the service, and what is written in them by digest."""
    return ("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "connect-src 'self'; font-src 'self'; img-src 'self' data:; "
            "script-src 'self' " + " ".join(sorted(digests["script"])) + "; "
            "style-src 'self' " + " ".join(sorted(digests["style"])))


if __name__ == "__main__":
    {"prepare": prepare, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]).resolve())

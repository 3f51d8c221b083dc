#!/bin/bash
# Renders the pictures of the documents from golden files of the summary, as GitHub's Markdown, in light and in dark. Needs
# Chromium, and Python with cmarkgfm and Pillow. Run it when a golden file that is shown has changed.
set -euo pipefail
cd "$(dirname "$0")"
snapshots=../../src/report/snapshots/bastion_migrate__report__golden__
page=$(mktemp --suffix .html)
trap 'rm -f "$page"' EXIT

# render PICTURE GOLDEN HEIGHT: a page of this height, in pixels, from the top of the summary.
render() {
    local theme
    for theme in light dark; do
        python3 - "$snapshots$2.snap" "$theme" >"$page" <<'PYTHON'
import sys
import cmarkgfm
from cmarkgfm.cmark import Options

path, theme = sys.argv[1:]
# The first part is insta's header.
markdown = open(path, encoding="utf-8").read().split("---\n", 2)[2]
if "```mermaid" in markdown:
    sys.exit(f"{path} has a chart, which this script does not draw")
html = cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE)
# The colours of GitHub's themes.
colors = {
    "light": "--page:#fff;--text:#1f2328;--line:#d1d9e0;--link:#0969da;--code:#818b981f;--block:#f6f8fa",
    "dark": "--page:#0d1117;--text:#f0f6fc;--line:#3d444d;--link:#4493f8;--code:#656c7633;--block:#151b23",
}[theme]
style = """
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text);
    font: 16px/1.5 "Noto Sans", "Liberation Sans", Arial, "Noto Color Emoji", sans-serif }
main { padding: 24px 32px; width: 1000px }
h2 { font-size: 1.5em; font-weight: 600; line-height: 1.25; border-bottom: 1px solid var(--line); padding-bottom: .3em; margin: 0 0 16px }
h3 { font-size: 1.25em; font-weight: 600; line-height: 1.25; margin: 24px 0 16px }
a { color: var(--link); text-decoration: none }
p { margin: 0 0 16px }
code { font: 85%/1.45 "Liberation Mono", monospace; background: var(--code); padding: .2em .4em; border-radius: 6px }
pre { background: var(--block); padding: 16px; border-radius: 6px; margin: 0 0 16px }
pre code { background: none; padding: 0 }
table { border-collapse: collapse; margin: 0 0 16px }
td, th { border: 1px solid var(--line); padding: 6px 13px }
tbody tr:nth-child(2n) { background: var(--block) }
"""
print(f"<!doctype html><meta charset=utf-8><style>:root {{ {colors} }}{style}</style><main>{html}</main>")
PYTHON
        chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1.5 \
            --window-size="1000,$3" --screenshot="$PWD/$1-$theme.png" "file://$page" 2>/dev/null
        python3 - "$1-$theme.png" <<'PYTHON'
import sys
from PIL import Image

Image.open(sys.argv[1]).convert("RGB").quantize(128, dither=0).save(sys.argv[1], optimize=True)
PYTHON
    done
}

render summary-failed failure_in_file_50_of_60 385
render first-run first_run_without_a_pin 480

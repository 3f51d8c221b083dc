"""Writes rds-tokens.json: the tokens that botocore makes for ten log-ins. Needs botocore from PyPI."""

import datetime
import json
import pathlib
from unittest import mock

import botocore
import botocore.session

# host, port, user, region, access key id, secret access key, session token, seconds since 1970.
LOGINS = [
    ("shop.abc123.eu-west-1.rds.amazonaws.com", 5432, "app", "eu-west-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, 1_700_000_000),
    ("shop.abc123.eu-west-1.rds.amazonaws.com", 5432, "app", "eu-west-1", "ASIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjE/+=a b", 1_700_000_000),
    ("shop.abc123.us-east-1.rds.amazonaws.com", 6432, "my user", "us-east-1", "AKIDEXAMPLE", "secret", None, 1_582_934_400),
    ("shop.abc123.us-east-1.rds.amazonaws.com", 443, "app@corp", "us-east-1", "AKIDEXAMPLE", "secret", None, 1_735_689_599),
    ("Shop-One.ABC123.us-west-2.rds.amazonaws.com", 5432, "Größe", "us-west-2", "AKIDEXAMPLE", "secret", None, 951_782_400),
    ("shop.cluster-abc123.ap-southeast-2.rds.amazonaws.com", 5432, "a/b?c&d=e", "ap-southeast-2", "AKIDEXAMPLE", "k~e-y_.", None, 1_600_000_001),
    ("proxy-1.proxy-abc.eu-central-1.rds.amazonaws.com", 5432, "migrator", "eu-central-1", "ASIAEXAMPLE", "x" * 40, "t" * 400, 1_800_000_000),
    ("shop.abc123.rds.cn-north-1.amazonaws.com.cn", 5432, "app", "cn-north-1", "AKIDEXAMPLE", "secret", None, 1_700_000_000),
    ("10.0.0.7", 5433, "app%20", "us-gov-west-1", "AKIDEXAMPLE", "secret", "a/b+c==", 1_700_003_599),
    ("localhost", 54321, "app", "eu-west-1", "AKIDEXAMPLE", "+/=", None, 0),
]
NAMES = ("host", "port", "user", "region", "access_key_id", "secret_access_key", "session_token", "seconds")


def token(login):
    at = datetime.datetime.fromtimestamp(login["seconds"], datetime.timezone.utc).replace(tzinfo=None)
    session = botocore.session.get_session()
    session.set_credentials(login["access_key_id"], login["secret_access_key"], login["session_token"])
    client = session.create_client("rds", region_name=login["region"])
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        return client.generate_db_auth_token(login["host"], login["port"], login["user"], login["region"])


vectors = [dict(zip(NAMES, login)) for login in LOGINS]
vectors = [{**login, "token": token(login)} for login in vectors]
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(vectors, indent=2) + "\n")

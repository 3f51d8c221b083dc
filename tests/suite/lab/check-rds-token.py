"""What RDS does with a password: checks the signature of the token, its age, and its role. Called by pam_exec."""

import datetime
import hashlib
import hmac
import os
import sys
from urllib.parse import parse_qsl, quote


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(host, parameters, secret):
    date, region, service, kind = parameters["X-Amz-Credential"].split("/")[1:]
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(parameters[name], safe='-_.~')}" for name in sorted(parameters))
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    scope = f"{date}/{region}/{service}/{kind}"
    text = f"AWS4-HMAC-SHA256\n{parameters['X-Amz-Date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, kind):
        key = digest(key, part)
    return digest(key, text).hex()


secret = open(sys.argv[1]).read()
token = sys.stdin.buffer.read().rstrip(b"\0\n").decode()
host, _, query = token.partition("/?")
parameters = dict(parse_qsl(query, keep_blank_values=True))
signed = parameters.pop("X-Amz-Signature", "")
time = datetime.datetime.strptime(parameters["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
age = (datetime.datetime.utcnow() - time).total_seconds()
valid = hmac.compare_digest(signed, signature(host, parameters, secret))
sys.exit(0 if valid and 0 <= age <= 900 and parameters["DBUser"] == os.environ["PAM_USER"] else 1)

"""Settings that differ between environments come from environment variables; a missing one stops the start."""

import os

import dj_database_url

SECRET_KEY = os.environ["SECRET_KEY"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=60)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

INSTALLED_APPS = ["carriers", "suppliers", "customers"]
if "APP_TROUBLE" in os.environ:
    INSTALLED_APPS.append("trouble")

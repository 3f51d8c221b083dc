#!/usr/bin/env bash
# As the first users migrate by hand.
set -euo pipefail
cd "$(dirname "$0")/.."

docker compose up -d db
until docker compose exec -T db pg_isready --quiet; do sleep 0.1; done
docker compose build web
echo "Pending migrations:"
docker compose run --rm web python manage.py showmigrations --plan | grep "\[ \]" || echo "none"
echo "Running database migrations..."
docker compose run --rm web python manage.py migrate --noinput
echo "Verifying..."
docker compose run --rm web python manage.py migrate --check
docker compose run --rm web python manage.py check
echo "✅ Migrations completed successfully"

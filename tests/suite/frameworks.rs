//! Real apps of Rails and Laravel, which take minutes to install, so `make frameworks` runs these tests. The apps count their
//! starts themselves.

use crate::{
    lab::{
        Lab,
        server::{Server, from_the_server},
    },
    rehearsal_tools::{changes_of, copies, left_in, rehearsal, statement},
    starts::App,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _};

const RAILS_APPLICATION: &str = "require_relative 'boot'
File.write(File.join(Dir.home, 'starts'), \"rails\\n\", mode: 'a')
require 'rails'
require 'active_record/railtie'
class Shop < Rails::Application
  config.logger = Logger.new(nil)
  config.active_record.dump_schema_after_migration = false
end
";

const RAILS_PROGRAM: &str = "#!/usr/bin/env ruby
APP_PATH = File.expand_path('../config/application', __dir__)
require_relative '../config/boot'
require 'rails/commands'
";

const RAILS_USERS: &str = "class CreateUsers < ActiveRecord::Migration[5.2]
  def change
    create_table(:users) { |table| table.string :name }
  end
end
";

const RAILS_AGE: &str = "class AddAge < ActiveRecord::Migration[5.2]
  def change
    add_column :users, :age, :integer
  end
end
";

const RAILS_FAILING: &str = "class Failing < ActiveRecord::Migration[5.2]
  def up
    execute 'select 1/0'
  end
end
";

const LARAVEL_APP: &str = r#"<?php
file_put_contents(getenv('HOME') . '/starts', "laravel\n", FILE_APPEND);
$app = new Illuminate\Foundation\Application(dirname(__DIR__));
$app->singleton(Illuminate\Contracts\Console\Kernel::class, Illuminate\Foundation\Console\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, Illuminate\Foundation\Exceptions\Handler::class);
return $app;
"#;

const LARAVEL_ARTISAN: &str = r#"<?php
define('LARAVEL_START', microtime(true));
require __DIR__ . '/vendor/autoload.php';
$app = require_once __DIR__ . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$input = new Symfony\Component\Console\Input\ArgvInput();
$status = $kernel->handle($input, new Symfony\Component\Console\Output\ConsoleOutput());
$kernel->terminate($input, $status);
exit($status);
"#;

/// The configuration files, each with the array that it returns.
const LARAVEL_CONFIGURATION: &[(&str, &str)] = &[
    ("cache", "'default' => 'array', 'stores' => ['array' => ['driver' => 'array']]"),
    (
        "logging",
        "'default' => 'none', 'channels' => ['none' => ['driver' => 'monolog', 'handler' => 'Monolog\\Handler\\NullHandler']]",
    ),
    (
        "queue",
        "'default' => 'sync', 'connections' => ['sync' => ['driver' => 'sync']], 'failed' => ['driver' => 'null']",
    ),
    ("view", "'paths' => [], 'compiled' => '/tmp'"),
    (
        "database",
        "'default' => 'pgsql', 'migrations' => 'migrations', 'connections' => ['pgsql' => ['driver' => 'pgsql', \
         'url' => getenv('DATABASE_URL'), 'charset' => 'utf8', 'prefix' => '', 'schema' => 'public']]",
    ),
];

/// The providers of the console, below `Illuminate`.
const LARAVEL_PROVIDERS: &[&str] = &[
    "Bus\\BusServiceProvider",
    "Cache\\CacheServiceProvider",
    "Database\\DatabaseServiceProvider",
    "Filesystem\\FilesystemServiceProvider",
    "Foundation\\Providers\\ConsoleSupportServiceProvider",
    "Queue\\QueueServiceProvider",
    "Translation\\TranslationServiceProvider",
    "View\\ViewServiceProvider",
];

fn rails() -> App {
    let lab = Lab::new();
    let server = Server::start()
        .file("shop/config/boot.rb", "")
        .file("shop/config/application.rb", RAILS_APPLICATION)
        .file("shop/config/environment.rb", "require_relative 'application'\nRails.application.initialize!\n")
        .file("shop/config/database.yml", "production:\n  url: <%= ENV['DATABASE_URL'] %>\n")
        .file("shop/Rakefile", "require_relative 'config/application'\nRails.application.load_tasks\n")
        .file("shop/bin/rails", RAILS_PROGRAM)
        .file("shop/db/migrate/20240101000001_create_users.rb", RAILS_USERS)
        .file("shop/db/migrate/20240101000002_add_age.rb", RAILS_AGE);
    fs::set_permissions(server.path("shop/bin/rails"), fs::Permissions::from_mode(0o755)).expect("it is there");
    let url = from_the_server(&lab.database);
    let setup = format!("export RAILS_ENV=production SECRET_KEY_BASE=none DATABASE_URL=${{DATABASE_URL:-{url}}}");
    App { lab, server, tool: "rails", directory: "shop", setup }
}

/// Returns the text of a Laravel migration that creates and drops this table.
fn laravel_migration(table: &str) -> String {
    let schema = "Illuminate\\Support\\Facades\\Schema";
    format!(
        "<?php\nreturn new class extends Illuminate\\Database\\Migrations\\Migration {{\n\
         \x20   public function up() {{ {schema}::create('{table}', function ($table) {{ $table->id(); }}); }}\n\
         \x20   public function down() {{ {schema}::drop('{table}'); }}\n}};\n"
    )
}

const LARAVEL_FAILING: &str = "<?php\nreturn new class extends Illuminate\\Database\\Migrations\\Migration {\n\
     \x20   public function up() { Illuminate\\Support\\Facades\\DB::statement('select 1/0'); }\n};\n";

fn laravel() -> App {
    let lab = Lab::new();
    let providers: Vec<String> = LARAVEL_PROVIDERS.iter().map(|name| format!("'Illuminate\\{name}'")).collect();
    let application = format!(
        "'name' => 'shop', 'env' => 'production', 'debug' => false, 'timezone' => 'UTC', 'locale' => 'en', \
         'fallback_locale' => 'en', 'aliases' => [], 'providers' => [{}]",
        providers.join(", ")
    );
    let server = LARAVEL_CONFIGURATION
        .iter()
        .chain([&("app", application.as_str())])
        .fold(Server::start(), |server, (name, values)| {
            server.file(&format!("shop/config/{name}.php"), format!("<?php return [{values}];\n"))
        });
    let server = server
        .file("shop/vendor/autoload.php", "<?php require_once '/usr/share/php/Illuminate/autoload.php';\n")
        .file("shop/bootstrap/app.php", LARAVEL_APP)
        .file("shop/artisan", LARAVEL_ARTISAN)
        .file("shop/database/migrations/2024_01_01_000001_create_users.php", laravel_migration("users"))
        .file("shop/database/migrations/2024_01_01_000002_create_items.php", laravel_migration("items"));
    let url = from_the_server(&lab.database);
    // Laravel writes its caches at the first start.
    let caches = "mkdir -p /tmp/caches-$USER; export APP_SERVICES_CACHE=/tmp/caches-$USER/services.php \
                  APP_PACKAGES_CACHE=/tmp/caches-$USER/packages.php";
    App {
        lab,
        server,
        tool: "laravel",
        directory: "shop",
        setup: format!("export DATABASE_URL=${{DATABASE_URL:-{url}}}\n{caches}"),
    }
}

/// Expects each command to take one start.
fn is_started_once_for_each_command(app: &App, names: [&str; 2], target: &str) {
    let plan = app.step("plan").run().has_pending().pending(names);
    let digest = plan.outputs.get("plan-digest").expect("a plan has a digest").clone();
    app.has_started(1, plan);
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = app.step("migrate").input("expect-plan", other).run().fails("plan-changed", 5).pending(names);
    app.has_started(1, refused);
    assert_eq!(app.lab.database.contents(), "");
    app.has_started(1, app.step("migrate").input("expect-plan", &digest).run().succeeds().applied(names));
    app.has_started(1, app.step("migrate").run().nothing_to_do());
    app.has_started(1, app.step("verify").run().succeeds());
    app.has_started(1, app.step("rollback").input("target", target).run().succeeds().pending([names[1]]));
    app.has_started(1, app.step("status").run().has_pending().pending([names[1]]));
    app.has_started(1, app.step("verify").run().fails("verify-pending", 7).pending([names[1]]));
    app.has_started(1, app.step("migrate").run().succeeds().applied([names[1]]));
}

#[test]
#[ignore = "`make frameworks` installs Rails"]
fn rails_is_started_once_for_each_command() {
    is_started_once_for_each_command(&rails(), ["20240101000001", "20240101000002"], "20240101000001");
}

#[test]
#[ignore = "`make frameworks` installs Laravel"]
fn laravel_is_started_once_for_each_command() {
    let names = ["2024_01_01_000001_create_users", "2024_01_01_000002_create_items"];
    is_started_once_for_each_command(&laravel(), names, "1");
}

#[test]
#[ignore = "`make frameworks` installs Rails"]
fn a_migration_of_rails_that_fails_in_the_common_start_is_reported() {
    let app = rails();
    let path = app.server.path("shop/db/migrate/20240101000003_failing.rb");
    fs::write(path, RAILS_FAILING).expect("there is room");
    let failed = app.step("migrate").run().fails("tool-failed", 6).applied(["20240101000001", "20240101000002"]);
    app.has_started(1, failed.pending(["20240101000003"]).error("division by zero"));
}

#[test]
#[ignore = "`make frameworks` installs Laravel"]
fn a_migration_of_laravel_that_fails_in_the_common_start_is_reported() {
    let app = laravel();
    let path = app.server.path("shop/database/migrations/2024_01_01_000003_failing.php");
    fs::write(path, LARAVEL_FAILING).expect("there is room");
    let names = ["2024_01_01_000001_create_users", "2024_01_01_000002_create_items"];
    let failed = app.step("migrate").run().fails("tool-failed", 6).applied(names);
    app.has_started(1, failed.pending(["2024_01_01_000003_failing"]).error("division by zero"));
}

/// Expects that the app is rehearsed, that each migration has its statements and its changes, and that only the copy has
/// them.
fn is_rehearsed(app: &App, migrations: [(&str, &str, &str); 2]) {
    let (copy, url) = copies();
    let step = app.step("rehearse").input("env", "DATABASE_URL=${DATABASE_URL}").secret("rehearse", &url);
    let finished = step.run();
    let seen = rehearsal(&finished);
    for (name, words, change) in migrations {
        let sent = statement(&seen, words);
        assert_eq!(sent.pointer("/migration/name").and_then(Value::as_str), Some(name), "{seen:#}");
        let changes = changes_of(&seen, name);
        assert!(changes.contains(change), "{name}: {changes}");
    }
    let rounds: Vec<&str> =
        seen.get("rounds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!((rounds.len(), rounds.get(1)), (4, Some(&"a second run had nothing to do")), "{rounds:?}");
    finished.has_pending().pending(migrations.map(|(name, ..)| name)).done();
    drop(fs::remove_file(app.server.path("starts")));
    assert_eq!((app.lab.database.contents(), left_in(&copy)), (String::new(), String::new()));
}

#[test]
#[ignore = "`make frameworks` installs Rails"]
fn rails_is_rehearsed_and_each_migration_has_its_statements() {
    let users = ("20240101000001", "create table \"users\"", "CREATE TABLE public.users");
    is_rehearsed(&rails(), [users, ("20240101000002", "alter table \"users\" add", "age")]);
}

#[test]
#[ignore = "`make frameworks` installs Laravel"]
fn laravel_is_rehearsed_and_each_migration_has_its_statements() {
    let users = ("2024_01_01_000001_create_users", "create table \"users\"", "CREATE TABLE public.users");
    is_rehearsed(
        &laravel(),
        [users, ("2024_01_01_000002_create_items", "create table \"items\"", "CREATE TABLE public.items")],
    );
}

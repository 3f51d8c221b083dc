#! ?>
<?php
// The line above is none to `php -r` and to `php FILE` alike. migrate:status, and other commands.
$seed = '{mark}';
$also_words = <<<'WORDS'
{also}
WORDS;

if (!defined('LARAVEL_START')) {
    define('LARAVEL_START', microtime(true));
}
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$output = new Symfony\Component\Console\Output\ConsoleOutput();

// Runs `php` with these words, the first of which is `artisan`, as that does.
function run_artisan(array $words)
{
    global $kernel, $output;
    $_SERVER['argv'] = $words;
    return $kernel->handle(new Symfony\Component\Console\Input\ArgvInput($_SERVER['argv']), $output);
}

function print_record(array $record)
{
    global $seed;
    $mark = str_replace('-', '', $seed);
    echo $mark, ' ', json_encode($record), "\n", $mark, "\n";
}

$code = run_artisan(['artisan', 'migrate:status']);
$migrator = $app->make('migrator');
if (!$migrator->repositoryExists()) {
    $paths = array_merge($migrator->paths(), [$app->databasePath() . '/migrations']);
    foreach (array_keys($migrator->getMigrationFiles($paths)) as $name) {
        echo '  ', $name, " .. Pending\n";
    }
} elseif ($code !== 0) {
    exit($code);
}
if ('{scripts}' === 'yes') {
    print_record(['everything' => 'Laravel shows its SQL only for people, with `php artisan migrate --pretend`']);
}
foreach (json_decode($also_words, true) as $number => $words) {
    print_record(['command' => $number, 'code' => run_artisan($words)]);
}

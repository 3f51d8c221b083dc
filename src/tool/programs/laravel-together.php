#! ?>
<?php
// The list, and then the commands of the migration, each of them once it is confirmed. The line above is none to `php -r`
// and to `php FILE` alike.
$listing_program = <<<'WORDS'
[{listing}]
WORDS;
$command_words = <<<'WORDS'
{commands}
WORDS;
// The app itself sees end of input at once, as it would without us.
$answers = fopen('php://fd/3', 'r');

function is_answered($answers, $seconds)
{
    $readable = [$answers];
    $writable = $urgent = null;
    return stream_select($readable, $writable, $urgent, $seconds) > 0;
}

function end_with_failure($reason)
{
    fwrite(STDERR, $reason . "\n");
    exit(1);
}

function let_write($connections)
{
    // Up to here every session was read-only; those that are opened from now on are not.
    if (getenv('PGOPTIONS') !== false) {
        $only = ' -c default_transaction_read_only=on';
        putenv('PGOPTIONS=' . trim(str_replace($only, '', ' ' . getenv('PGOPTIONS'))));
    }
    foreach (array_keys($connections->getConnections()) as $name) {
        $connections->purge($name);
    }
}

eval('?>' . substr(json_decode($listing_program)[0], strlen("#! ?>\n")));
if (is_answered($answers, 0)) {
    end_with_failure('standard input has ended before the migration was confirmed');
}
foreach (json_decode($command_words, true) as $words) {
    echo "bastion-migrate: go on?\n";
    if (!is_answered($answers, 300)) {
        end_with_failure('the migration was not confirmed in time');
    }
    if (fgets($answers) !== "yes\n") {
        exit(0);
    }
    let_write($app->make('db'));
    $code = run_artisan($words);
    if ($code !== 0) {
        exit($code);
    }
}

# The list, and then the commands of the migration, each of them once it is confirmed.
require 'json'

answers = $stdin.dup
# The app itself sees end of input at once, as it would without us.
$stdin.reopen(File::NULL)

eval(JSON.parse(<<'WORDS').first)
[{listing}]
WORDS
commands = JSON.parse(<<'WORDS')
{commands}
WORDS

def let_write
  # Up to here every session was read-only; those that are opened from now on are not.
  only = ' -c default_transaction_read_only=on'
  ENV['PGOPTIONS'] = " #{ENV['PGOPTIONS']}".sub(only, '').strip if ENV.key?('PGOPTIONS')
  ObjectSpace.each_object(ActiveRecord::ConnectionAdapters::ConnectionPool, &:disconnect!)
end

abort('standard input has ended before the migration was confirmed') if IO.select([answers], nil, nil, 0)
commands.each do |words|
  puts 'bastion-migrate: go on?'
  abort('the migration was not confirmed in time') unless IO.select([answers], nil, nil, 300)
  exit!(0) unless answers.gets == "yes\n"
  let_write
  code = run_rails(words)
  exit(code) unless code.zero?
end

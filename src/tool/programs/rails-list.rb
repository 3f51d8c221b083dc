# db:migrate:status, and other commands.
require 'json'

printed_mark = '{mark}'.delete('-')
also = JSON.parse(<<'WORDS')
{also}
WORDS

require File.expand_path('config/boot')
require 'rake'

# Runs the words behind `bin/rails`, as that does.
def run_rails(words)
  values, tasks = words.partition { |word| word.match?(/\A\w+=/) }
  values.each { |value| ENV.store(*value.split('=', 2)) }
  ARGV.replace(words)
  Rake.application.standard_exception_handling { tasks.each { |task| Rake::Task[task].invoke } }
  0
rescue SystemExit => error
  @why = error.message
  error.status
end

# The list for a database without a ledger.
def list_files
  pool = ActiveRecord::Base.connection_pool
  holder = pool.respond_to?(:migration_context) ? pool : ActiveRecord::Base.connection
  holder.migration_context.migrations.each do |migration|
    puts "  down    #{migration.version.to_s.ljust(14)}  #{migration.name.underscore.humanize}"
  end
end

$PROGRAM_NAME = 'bin/rails'
ARGV.clear
$stdout.sync = true
Rake.application.init('rails')
Rake.application.load_rakefile
Rake.application.options.suppress_backtrace_pattern = /\A(?!#{Regexp.quote(Rails.root.to_s)})/
code = run_rails(['db:migrate:status'])
if code != 0
  exit!(code) unless @why.include?('Schema migrations table does not exist')
  list_files
end
print_record = ->(record) { puts "#{printed_mark} #{JSON.generate(record)}", printed_mark }
print_record.call('everything' => "Rails can't show the SQL of a migration without running it") if '{scripts}' == 'yes'
also.each_with_index { |words, index| print_record.call('command' => index, 'code' => run_rails(words)) }

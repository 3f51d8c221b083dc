//! The migrations.

/// A migration.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) name: &'static str,
    /// SQL that runs before, in the database itself.
    pub(crate) preparation: &'static str,
    /// The text of the file.
    pub(crate) migration: &'static str,
}

impl Form {
    /// Returns an operation of Django that does the same. What changes rows is code, as it is in many projects.
    pub(crate) fn as_django_operation(&self) -> String {
        let sql = self.migration.trim_end();
        if sql.starts_with("UPDATE") {
            return format!(
                "migrations.RunPython(lambda apps, editor: editor.execute(\"\"\"{sql}\"\"\"), migrations.RunPython.noop)"
            );
        }
        format!("migrations.RunSQL(\"\"\"{sql}\"\"\", migrations.RunSQL.noop)")
    }
}

const fn form(name: &'static str, migration: &'static str) -> Form {
    Form { name, preparation: "SELECT 1", migration }
}

const NEW_COLUMN: Form = form("a new column", "ALTER TABLE orders ADD COLUMN note text;\n");
const INDEX: Form = form("an index", "CREATE INDEX orders_n ON orders (n);\n");
const NOT_NULL: Form = form("NOT NULL, by a scan", "ALTER TABLE orders ALTER COLUMN n SET NOT NULL;\n");
const FOREIGN_KEY: Form =
    form("a foreign key, validated", "ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers;\n");
const REWRITE: Form = form("a type that rewrites the table", "ALTER TABLE orders ALTER COLUMN n TYPE bigint;\n");
const COLUMN_THAT_IS_THERE: Form = form("a column that is there", "ALTER TABLE orders ADD COLUMN text text;\n");
const DUPLICATES: Form =
    form("a unique index on a column with duplicates", "CREATE UNIQUE INDEX orders_only ON orders (customer);\n");

/// The migrations that every tool runs, in their order. The file of one that fails is removed.
pub(crate) const FORMS_OF_TOOLS: [Form; 8] = [
    NEW_COLUMN,
    INDEX,
    NOT_NULL,
    FOREIGN_KEY,
    REWRITE,
    form("an UPDATE of a tenth of the rows", "UPDATE orders SET total = n * 2 WHERE id <= 500000;\n"),
    COLUMN_THAT_IS_THERE,
    DUPLICATES,
];

/// The migrations as SQL files.
pub(crate) const FORMS: [Form; 10] = [
    NEW_COLUMN,
    form("an index, concurrently", "CREATE INDEX CONCURRENTLY orders_text ON orders (n, id);\n"),
    INDEX,
    NOT_NULL,
    FOREIGN_KEY,
    REWRITE,
    form(
        "a rewrite in a DO block",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE orders ADD COLUMN lot float DEFAULT random()'; END $$;\n",
    ),
    Form { preparation: "VACUUM orders", ..form("an UPDATE of all rows", "UPDATE orders SET total = n * 2;\n") },
    Form { preparation: "VACUUM orders", ..COLUMN_THAT_IS_THERE },
    DUPLICATES,
];

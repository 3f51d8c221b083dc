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

/// The migrations that every tool runs.
pub(crate) const FORMS_OF_TOOLS: [Form; 5] = [
    Form { name: "a new column", preparation: "SELECT 1", migration: "ALTER TABLE orders ADD COLUMN note text;\n" },
    Form { name: "an index", preparation: "SELECT 1", migration: "CREATE INDEX orders_n ON orders (n);\n" },
    Form {
        name: "a type that rewrites the table",
        preparation: "SELECT 1",
        migration: "ALTER TABLE orders ALTER COLUMN n TYPE bigint;\n",
    },
    Form {
        name: "an UPDATE of a tenth of the rows",
        preparation: "SELECT 1",
        migration: "UPDATE orders SET total = n * 2 WHERE id <= 500000;\n",
    },
    Form {
        name: "a column that is there",
        preparation: "SELECT 1",
        migration: "ALTER TABLE orders ADD COLUMN text text;\n",
    },
];

/// The migrations as SQL files, in the order in which they run. The file of one that fails is removed.
pub(crate) const FORMS: [Form; 10] = [
    Form { name: "a new column", preparation: "SELECT 1", migration: "ALTER TABLE orders ADD COLUMN note text;\n" },
    Form {
        name: "an index, concurrently",
        preparation: "SELECT 1",
        migration: "CREATE INDEX CONCURRENTLY orders_text ON orders (n, id);\n",
    },
    Form { name: "an index", preparation: "SELECT 1", migration: "CREATE INDEX orders_n ON orders (n);\n" },
    Form {
        name: "NOT NULL, by a scan",
        preparation: "SELECT 1",
        migration: "ALTER TABLE orders ALTER COLUMN n SET NOT NULL;\n",
    },
    Form {
        name: "a foreign key, validated",
        preparation: "SELECT 1",
        migration: "ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers;\n",
    },
    Form {
        name: "a type that rewrites the table",
        preparation: "SELECT 1",
        migration: "ALTER TABLE orders ALTER COLUMN n TYPE bigint;\n",
    },
    Form {
        name: "a rewrite in a DO block",
        preparation: "SELECT 1",
        migration: "DO $$ BEGIN EXECUTE 'ALTER TABLE orders ADD COLUMN lot float DEFAULT random()'; END $$;\n",
    },
    Form {
        name: "an UPDATE of all rows",
        preparation: "VACUUM orders",
        migration: "UPDATE orders SET total = n * 2;\n",
    },
    Form {
        name: "a column that is there",
        preparation: "VACUUM orders",
        migration: "ALTER TABLE orders ADD COLUMN text text;\n",
    },
    Form {
        name: "a unique index on a column with duplicates",
        preparation: "SELECT 1",
        migration: "CREATE UNIQUE INDEX orders_only ON orders (customer);\n",
    },
];

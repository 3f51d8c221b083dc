//! The SQL of the pending migrations, from the output of a tool. That is untrusted text: it is shown and judged, never
//! run. A migration whose SQL can't be told for certain has none.

use super::ToolExecutor;
use crate::{
    executor::{
        backup::BackupSubject,
        review::{ReadScripts, ReviewResult, ReviewSubject, review_plan},
    },
    fault::Fault,
    review::{HiddenPart, MigrationScript, PlanPath, ScriptTransaction},
    run::MigrationId,
    secret::Redactor,
    tool::PrintedScript,
};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of bytes of SQL in a plan: more than a person can approve, and little memory.
const MAX_SQL_BYTES: usize = 4 << 20;

/// Maximum number of characters of a reason or of a kind of code, which are for people.
const MAX_REASON_CHARS: usize = 300;

/// Maximum number of kinds of code in one migration.
const MAX_KINDS_OF_CODE: usize = 10;

/// The printed scripts by name and schema.
type ScriptsByName = BTreeMap<(String, Option<String>), PrintedScript>;

/// Reviews the SQL of the pending migrations. Returns the part of the plan that a backup depends on, and the SQL with its
/// effects. The SQL of tenants is weighed in the first schema of them.
///
/// # Errors
/// What the settings do not accept.
pub(super) async fn review(tool: &ToolExecutor<'_>, digest: &str) -> Result<(BackupSubject, ReadScripts), Vec<Fault>> {
    let path = tool.path.clone();
    let session = tool.lock_holder.as_ref().map(super::LockHolder::session);
    let subject = ReviewSubject { scripts: tool.scripts.clone(), session, path, place_of: &|_, _| None };
    let ReviewResult { tables, scripts, .. } = review_plan(tool.settings, &tool.events, subject).await?;
    let schemas: BTreeSet<&str> = tool.pending.iter().map(|id| id.schema.as_str()).collect();
    let tenants = schemas.into_iter().filter(|schema| !schema.is_empty()).map(str::to_owned).collect();
    Ok((BackupSubject { digest: digest.to_owned(), tables, tenants }, scripts))
}

/// Returns the search path in which scripts are weighed: that of the first tenant, if there are tenants.
pub(super) fn plan_path(scripts: &[MigrationScript]) -> PlanPath {
    let schema =
        scripts.iter().map(|script| script.id.schema.as_str()).find(|schema| !matches!(*schema, "" | "public"));
    match schema {
        Some(schema) => PlanPath::Schemas(vec![schema.to_owned(), "public".to_owned()]),
        None => PlanPath::Session,
    }
}

/// Returns the script of each pending migration, in their order. `printed` is the output of the tool, or the reason why
/// there is none. A script without a schema stands for all schemas that have none of their own: it is returned once, for
/// the first of them.
pub(super) fn scripts_of_pending(
    pending: &[MigrationId],
    printed: Result<Vec<PrintedScript>, String>,
    redactor: &Redactor,
) -> Vec<MigrationScript> {
    let (printed, missing) = match printed {
        Ok(printed) => (printed, "the tool did not print its SQL".to_owned()),
        Err(reason) => (Vec::new(), reason),
    };
    let printed: ScriptsByName =
        printed.into_iter().map(|script| ((script.name.clone(), script.schema.clone()), script)).collect();
    let (mut scripts, mut returned, mut sql_bytes) = (Vec::new(), BTreeSet::new(), 0);
    for id in pending {
        let found = find_script(id, &printed);
        let schema = found.and_then(|script| script.schema.as_deref());
        if !returned.insert((id.name.as_str(), schema)) {
            continue;
        }
        let script = match found {
            Some(script) => script_of(id, script, redactor),
            None => hidden_script(id, short_text(&missing, redactor)),
        };
        sql_bytes += script.sql.len();
        scripts.push(match sql_bytes > MAX_SQL_BYTES {
            true => hidden_script(id, "the SQL of the plan is longer than 4 MiB".to_owned()),
            false => script,
        });
    }
    scripts
}

/// Returns the script of a migration in its own schema, or else the one for all schemas. A plan that was made before
/// there was any ledger stands for the first schema.
fn find_script<'p>(id: &MigrationId, printed: &'p ScriptsByName) -> Option<&'p PrintedScript> {
    let script_in = |schema: Option<&str>| printed.get(&(id.name.clone(), schema.map(ToOwned::to_owned)));
    if id.schema.is_empty() {
        let first = printed.range((id.name.clone(), Some(String::new()))..).next();
        let first = first.filter(|((name, _), _)| *name == id.name).map(|(_, script)| script);
        return first.or_else(|| script_in(None));
    }
    script_in(Some(&id.schema)).or_else(|| script_in(None))
}

fn script_of(id: &MigrationId, script: &PrintedScript, redactor: &Redactor) -> MigrationScript {
    let code: BTreeSet<String> = script.code.iter().map(|kind| short_text(kind, redactor)).collect();
    let code = code.into_iter().take(MAX_KINDS_OF_CODE).map(HiddenPart::Code);
    let everything = script.everything.as_ref().map(|reason| HiddenPart::Everything(short_text(reason, redactor)));
    MigrationScript {
        id: id.clone(),
        // Incomplete SQL would be wrong.
        sql: if everything.is_some() { String::new() } else { redactor.redact(&script.sql).into_owned() },
        transaction: if script.whole { ScriptTransaction::Whole } else { ScriptTransaction::AsWritten },
        hidden: code.chain(everything).collect(),
    }
}

fn hidden_script(id: &MigrationId, reason: String) -> MigrationScript {
    MigrationScript {
        id: id.clone(),
        sql: String::new(),
        transaction: ScriptTransaction::AsWritten,
        hidden: vec![HiddenPart::Everything(reason)],
    }
}

/// Returns the first line of a text, redacted and then cut.
fn short_text(text: &str, redactor: &Redactor) -> String {
    let text = redactor.redact(text);
    text.lines().next().unwrap_or_default().chars().take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn pending(ids: &[(&str, &str)]) -> Vec<MigrationId> {
        ids.iter().map(|(schema, name)| MigrationId::of_tool((*name).to_owned(), (*schema).to_owned())).collect()
    }

    fn printed(name: &str, schema: Option<&str>, sql: &str) -> PrintedScript {
        let script = serde_json::json!({"name": name, "schema": schema, "sql": sql, "whole": true});
        serde_json::from_value(script).unwrap()
    }

    /// Returns each script as `schema: name: SQL`, or with the hidden parts.
    fn shown(scripts: &[MigrationScript]) -> Vec<String> {
        let text = |script: &MigrationScript| match script.hidden.as_slice() {
            [] => format!("{}={}", script.id.label(), script.sql),
            hidden => format!("{}={}{hidden:?}", script.id.label(), script.sql),
        };
        scripts.iter().map(text).collect()
    }

    fn scripts(ids: &[(&str, &str)], printed: Vec<PrintedScript>) -> Vec<String> {
        shown(&scripts_of_pending(&pending(ids), Ok(printed), &Redactor::default()))
    }

    #[test]
    fn each_pending_migration_has_its_sql_or_the_reason_why_not() {
        let printed = vec![printed("a.2", None, "two"), printed("a.1", None, "one"), printed("a.0", None, "applied")];
        assert_eq!(
            scripts(&[("", "a.1"), ("", "a.2"), ("", "a.3")], printed),
            ["a.1=one", "a.2=two", "a.3=[Everything(\"the tool did not print its SQL\")]"]
        );
        let hidden = scripts_of_pending(&pending(&[("", "a.1")]), Err("it can't".to_owned()), &Redactor::default());
        assert_eq!(shown(&hidden), ["a.1=[Everything(\"it can't\")]"]);
    }

    #[test]
    fn a_script_stands_for_all_tenants_and_public_has_its_own() {
        let printed = vec![printed("a.1", Some("public"), "shared"), printed("a.1", None, "tenant")];
        let ids = [("public", "a.1"), ("t1", "a.1"), ("t2", "a.1"), ("t2", "a.2")];
        assert_eq!(
            scripts(&ids, printed.clone()),
            ["public: a.1=shared", "t1: a.1=tenant", "t2: a.2=[Everything(\"the tool did not print its SQL\")]"]
        );
        assert_eq!(scripts(&[("", "a.1")], printed), ["a.1=shared"], "before there is a ledger");
    }

    #[test]
    fn a_script_with_a_reason_has_no_sql_beside_it() {
        let mut script = printed("a.1", None, "half of it");
        script.code = vec!["Python code".to_owned(), "Python code".to_owned()];
        script.everything = Some("it failed\nlong".to_owned());
        assert_eq!(scripts(&[("", "a.1")], vec![script]), ["a.1=[Code(\"Python code\"), Everything(\"it failed\")]"]);
    }

    #[test]
    fn a_plan_with_too_much_sql_hides_the_rest() {
        let long = "x".repeat(MAX_SQL_BYTES);
        let printed = vec![printed("a.1", None, &long), printed("a.2", None, "x")];
        let scripts = scripts_of_pending(&pending(&[("", "a.1"), ("", "a.2")]), Ok(printed), &Redactor::default());
        assert_eq!(scripts[0].sql.len(), MAX_SQL_BYTES);
        assert_eq!(shown(&scripts[1..]), ["a.2=[Everything(\"the SQL of the plan is longer than 4 MiB\")]"]);
    }

    #[test]
    fn secrets_are_hidden_in_sql_and_in_reasons() {
        let redactor = Redactor::new([&Secret::new("Zq8-secret-Xw")]);
        let mut script = printed("a.1", None, "alter role a password 'Zq8-secret-Xw'");
        script.code = vec!["code of Zq8-secret-Xw".to_owned()];
        let mut failed = printed("a.2", None, "");
        failed.everything = Some(format!("{}Zq8-secret-Xw", "x".repeat(MAX_REASON_CHARS - 5)));
        let scripts = scripts_of_pending(&pending(&[("", "a.1"), ("", "a.2")]), Ok(vec![script, failed]), &redactor);
        let text = shown(&scripts).concat();
        assert!(text.contains("password '***'") && !text.contains("Zq8"), "{text}");
    }
}

//! The effect of a statement while it is read.

use super::{
    super::effect::{Certainty, Destruction, LockDuration, LockMode, LockedRelation, RelationLock, TableWork},
    search_path::SearchPath,
    tree::{SyntaxKind, SyntaxNode, has_child, join_parts, read_parts},
};
use crate::sql::QualifiedName;

/// The effect of a statement while it is read.
#[derive(Debug, Default)]
pub(super) struct EffectDraft {
    locks: Vec<(LockMode, LockedRelation)>,
    work: Vec<TableWork>,
    destroys: Vec<Destruction>,
    creates: Vec<QualifiedName>,
    more: Vec<String>,
    less: Vec<String>,
    in_own_transactions: bool,
    search_path: SearchPath,
}

/// The tables that a statement reaches below the one that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// None.
    Itself,
    /// Its partitions, and the tables that inherit from it.
    Descendants,
    /// Its partitions.
    Partitions,
}

/// A relation as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: QualifiedName,
    /// Set by `ONLY`: descendants are left alone.
    pub(super) is_only: bool,
}

impl EffectDraft {
    /// Creates the draft of a statement whose names are looked up in this path.
    pub(super) fn in_path(search_path: &SearchPath) -> Self {
        Self { search_path: search_path.clone(), ..Self::default() }
    }

    /// Returns the relation that a node names, with its `ONLY`. An unreadable name makes the effect uncertain.
    pub(super) fn read_target(&mut self, node: &SyntaxNode) -> Option<Target> {
        let is_only = has_child(node, SyntaxKind::ONLY_KW);
        Some(Target { name: self.read_name(node)?, is_only })
    }

    /// Returns the name in a node. An unreadable name makes the effect uncertain.
    pub(super) fn read_name(&mut self, node: &SyntaxNode) -> Option<QualifiedName> {
        let Some(name) = read_parts(node).and_then(join_parts) else {
            self.add_reason("a name in it can't be read");
            return None;
        };
        Some(self.qualify(name))
    }

    /// Returns the name of the table of a column that is written as `table.column` or `schema.table.column`.
    pub(super) fn read_table_of_column(&mut self, node: &SyntaxNode) -> Option<QualifiedName> {
        let mut parts = read_parts(node)?;
        parts.pop()?;
        let table = join_parts(parts)?;
        Some(self.qualify(table))
    }

    /// Adds the schema of the script's own search path to a name without one.
    pub(super) fn qualify(&mut self, name: QualifiedName) -> QualifiedName {
        match (&self.search_path, &name.schema) {
            (SearchPath::Schema(schema), None) => QualifiedName { schema: Some(schema.clone()), ..name },
            (SearchPath::Other, None) => {
                self.add_reason(format!(
                    "the script sets the search path, so {} may be in one of several schemas",
                    name.name
                ));
                name
            }
            (SearchPath::OfSession, _) | (_, Some(_)) => name,
        }
    }

    /// Returns the names in the children of a node.
    pub(super) fn read_names(&mut self, list: &SyntaxNode) -> Vec<QualifiedName> {
        list.children().filter_map(|child| self.read_name(&child)).collect()
    }

    /// Adds a lock; of two on the same relation, the stronger one stays.
    pub(super) fn lock(&mut self, mode: LockMode, relation: LockedRelation) {
        match self.locks.iter_mut().find(|(_, locked)| *locked == relation) {
            Some((held, _)) => *held = mode.max(*held),
            None => self.locks.push((mode, relation)),
        }
    }

    /// Adds a lock on a relation that the statement names.
    pub(super) fn lock_named(&mut self, mode: LockMode, name: &QualifiedName) {
        self.lock(mode, LockedRelation::Named(name.clone()));
    }

    /// Adds a lock on a relation and on those that the statement reaches below it.
    pub(super) fn lock_target(&mut self, mode: LockMode, target: &Target, reach: Reach) {
        self.lock_named(mode, &target.name);
        if target.is_only {
            return;
        }
        match reach {
            Reach::Itself => {}
            Reach::Descendants => self.lock(mode, LockedRelation::DescendantsOf(target.name.clone())),
            Reach::Partitions => self.lock(mode, LockedRelation::PartitionsOf(target.name.clone())),
        }
    }

    /// Raises the locks below a table to that of the table: the subcommands of an ALTER TABLE lock with the strongest
    /// mode of all (`AlterTableGetLockLevel` in PostgreSQL's tablecmds.c).
    pub(super) fn raise_locks_below(&mut self, name: &QualifiedName) {
        let own = LockedRelation::Named(name.clone());
        let Some(mode) = self.locks.iter().find(|(_, locked)| *locked == own).map(|(mode, _)| *mode) else { return };
        for (held, locked) in &mut self.locks {
            // The partitions of a new constraint's table are locked as by CREATE INDEX.
            if *held == LockMode::Share {
                continue;
            }
            if matches!(locked, LockedRelation::DescendantsOf(of) | LockedRelation::PartitionsOf(of) if of == name) {
                *held = mode.max(*held);
            }
        }
    }

    /// Adds work, once.
    pub(super) fn add_work(&mut self, work: TableWork) {
        if !self.work.contains(&work) {
            self.work.push(work);
        }
    }

    /// Adds a destruction, once.
    pub(super) fn add_destruction(&mut self, destruction: Destruction) {
        if !self.destroys.contains(&destruction) {
            self.destroys.push(destruction);
        }
    }

    /// Adds a relation that the statement creates.
    pub(super) fn add_created(&mut self, name: QualifiedName) {
        self.creates.push(name);
    }

    /// Leaves the names of a CREATE SCHEMA, which has a search path of its own, as they are.
    pub(super) fn ignore_search_path(&mut self) {
        self.search_path = SearchPath::OfSession;
    }

    /// Puts the relations that the statement creates into this schema, unless another one is written.
    pub(super) fn add_schema(&mut self, schema: &str) {
        for created in &mut self.creates {
            created.schema.get_or_insert_with(|| schema.to_owned());
        }
    }

    /// Adds a reason why there may be more to the effect, as a sentence without its full stop.
    pub(super) fn add_reason(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.more.contains(&reason) {
            self.more.push(reason);
        }
    }

    /// Adds a reason why the work may be less, as a sentence without its full stop.
    pub(super) fn add_relief(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.less.contains(&reason) {
            self.less.push(reason);
        }
    }

    /// Makes all locks end with the statement: it runs in transactions of its own.
    pub(super) fn end_locks_early(&mut self) {
        self.in_own_transactions = true;
    }

    /// Leaves out work and destruction: the statement only describes what another one would do.
    pub(super) fn drop_work(&mut self) {
        self.work.clear();
        self.destroys.clear();
    }

    /// Returns the locks, the strongest first.
    pub(super) fn take_locks(&mut self, duration: LockDuration) -> Vec<RelationLock> {
        let duration = if self.in_own_transactions { LockDuration::Statement } else { duration };
        let mut locks: Vec<_> = std::mem::take(&mut self.locks)
            .into_iter()
            .map(|(mode, relation)| RelationLock { mode, relation, duration })
            .collect();
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.mode));
        locks
    }

    /// Returns the work, the destructions, the created relations and the certainty.
    pub(super) fn finish(self) -> (Vec<TableWork>, Vec<Destruction>, Vec<QualifiedName>, Certainty) {
        let certainty = match (self.more.is_empty(), self.less.is_empty()) {
            (false, _) => Certainty::MayBeMore(self.more.join(", and ")),
            (true, false) => Certainty::MayBeLess(self.less.join(", and ")),
            (true, true) => Certainty::Known,
        };
        (self.work, self.destroys, self.creates, certainty)
    }
}

//! `ObjectHistory`: the life of objects as a document and as tables.

use super::{Cell, Column, Report, Table};
use crate::analysis::history::{Item, ObjectHistory, ObjectId, Related, Relation};

impl Report for ObjectHistory {
    const KIND: &'static str = "ObjectHistory";
    const EMPTY: &'static str = "No changes found.";
    type Item = Item;

    fn items(&self) -> &[Item] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.changes(false)];
        tables.extend(self.relations());
        tables
    }

    fn narrow_tables(&self) -> Option<Vec<Table>> {
        let mut tables = vec![self.changes(true)];
        tables.extend(self.relations());
        Some(tables)
    }
}

impl ObjectHistory {
    /// A row for each change; writes that changed nothing are left out.
    fn changes(&self, is_narrow: bool) -> Table {
        let first = self.items.first().map(|item| &item.object);
        let has_many = self.items.iter().any(|item| Some(&item.object) != first);
        let has_namespaces = has_many
            && self
                .items
                .iter()
                .any(|it| Some(&it.object.namespace) != first.map(|it| &it.namespace));

        let mut columns = vec![Column::text("TIME"), Column::text("USER").shrinking_inside_to(12)];
        if has_namespaces {
            columns.push(Column::text("NAMESPACE").shrinking_inside_to(10));
        }
        if has_many {
            columns.push(Column::text("OBJECT").shrinking_inside_to(16));
        }
        columns.push(Column::text("CHANGE"));
        if !is_narrow {
            columns.push(Column::code("CODE"));
        }
        columns.push(Column::text("WHAT").shrinking());
        let wide = ["BY", "VERB", "UID", "VERSION", "AUDIT-ID"];
        columns.extend(wide.map(|header| Column::text(header).wide()));

        let row = |item: &Item| {
            let mut row = vec![
                item.time.map_or(Cell::None, |time| Cell::Time(time.0)),
                Cell::from(item.effective_user()),
            ];
            if has_namespaces {
                row.push(Cell::from(&*item.object.namespace));
            }
            if has_many {
                row.push(Cell::Text(item.object.to_string()));
            }
            row.push(Cell::from(change(item)));
            if !is_narrow {
                row.push(Cell::from(item.code.map(|code| code.to_string())));
            }
            row.push(Cell::from(what(item)));
            let by = item.impersonated_user.as_ref().map(|_| item.user.clone());
            row.extend(
                [by, Some(verb(item)), item.uid.clone(), item.resource_version.clone()]
                    .map(Cell::from),
            );
            row.push(Cell::from(&*item.audit_id));
            row
        };
        let rows = self.items.iter().filter(|item| !item.is_idle()).map(row).collect();
        Table { columns, rows }
    }

    /// Owners and children, if there are any.
    fn relations(&self) -> Option<Table> {
        let headers = ["RELATED", "OBJECT", "FROM", "TO"];
        let mut columns: Vec<Column> = headers.map(Column::text).into();
        columns.push(Column::text("UID").wide());
        let time = |time: Option<crate::event::Timestamp>| {
            time.map_or(Cell::None, |time| Cell::Time(time.0))
        };
        let row = |related: &Related| {
            let relation = match related.relation {
                Relation::Owner => "owner",
                Relation::Child => "child",
            };
            let object: &ObjectId = &related.object;
            vec![
                Cell::from(relation),
                Cell::Text(object.to_string()),
                time(related.from),
                time(related.to),
                Cell::from(related.uid.clone()),
            ]
        };
        let rows: Vec<_> = self.related.iter().map(row).collect();
        (!rows.is_empty()).then_some(Table { columns, rows })
    }
}

/// What happened, in one word.
fn change(item: &Item) -> &'static str {
    match item.change.as_str() {
        _ if item.is_read() => "read",
        "none" if item.has_failed() => "failed",
        other => other,
    }
}

/// What changed, and what is to be known beside it.
fn what(item: &Item) -> String {
    let mut text = item.words.clone();
    if item.has_failed() || item.is_read() {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{}{separator}{text}", verb(item));
    }
    if item.dry_run {
        text += if text.is_empty() { "(dry run)" } else { " (dry run)" };
    }
    text
}

/// The verb with the subresource: `patch scale`.
fn verb(item: &Item) -> String {
    match &item.subresource {
        Some(subresource) => format!("{} {subresource}", item.verb),
        None => item.verb.clone(),
    }
}

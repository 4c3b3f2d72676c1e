//! How well a grouping of requests agrees with a known truth.
//!
//! Units are requests. Pairs of units in the same group give precision, recall and F1; the mean Jaccard index
//! weighs each action once; cause accuracy counts the consequences that are in the action of their cause.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Timestamp;

/// A request as the log has it.
#[derive(Debug, Clone)]
pub struct Unit {
    pub audit_id: String,
    pub received: Timestamp,
    /// The truth of simple recordings cannot judge it where it lists it nowhere.
    pub is_vague: bool,
}

/// An action of the truth.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrueAction {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub command: String,
    pub start: Timestamp,
    pub end: Timestamp,
    #[serde(rename = "rootAuditIDs")]
    pub roots: Vec<String>,
    #[serde(rename = "causedAuditIDs")]
    pub caused: Vec<String>,
    #[serde(default)]
    pub also_acceptable: HashMap<String, Vec<Value>>,
}

/// What is known of a log: its actions, and the requests that nobody can judge.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub actions: Vec<TrueAction>,
    unjudged: HashSet<String>,
    /// Other actions that are as right, by audit ID; `None` stands for background.
    also: HashMap<String, Vec<Option<usize>>>,
}

impl Truth {
    /// Reads JSON lines: actions, and groups of background requests.
    ///
    /// # Errors
    /// The number of the line that is neither, and why.
    pub fn parse(text: &str) -> Result<Truth, (usize, String)> {
        let mut truth = Truth::default();
        let mut background = Vec::new();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |err: serde_json::Error| (n + 1, err.to_string());
            let value: Value = serde_json::from_str(line).map_err(wrong)?;
            if value.get("rootAuditIDs").is_some() {
                truth.actions.push(serde_json::from_value(value).map_err(wrong)?);
            } else if let Some(id) = value.get("auditID").and_then(Value::as_str) {
                if value.get("kind").and_then(Value::as_str) == Some("unjudged") {
                    truth.unjudged.insert(id.to_owned());
                }
            } else if value.get("auditIDs").is_some() {
                background.push(value);
            } else {
                return Err((
                    n + 1,
                    "neither an action (rootAuditIDs) nor background (auditIDs)".to_owned(),
                ));
            }
        }

        for (n, action) in truth.actions.iter().enumerate() {
            for (id, others) in &action.also_acceptable {
                let mut all = vec![Some(n)];
                all.extend(others.iter().map(|other| other.as_u64().map(|other| other as usize)));
                truth.also.insert(id.clone(), all);
            }
        }
        for group in &background {
            let also = group.get("alsoAcceptable").and_then(Value::as_object);
            for (id, others) in also.into_iter().flatten() {
                let others = others.as_array().into_iter().flatten();
                let all =
                    others.filter_map(|other| other.as_u64().map(|other| Some(other as usize)));
                truth.also.insert(id.clone(), all.collect());
            }
        }
        Ok(truth)
    }
}

/// The metric.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    pub units: usize,
    pub actions: usize,
    pub background: usize,
    pub pair_precision: f64,
    pub pair_recall: f64,
    pub pair_f1: f64,
    pub adjusted_rand: f64,
    pub mean_jaccard: f64,
    pub perfect: f64,
    pub split: usize,
    pub merged: usize,
    pub split_and_merged: usize,
    pub missed: usize,
    pub caused: usize,
    pub cause_accuracy: f64,
    pub caused_left_out: f64,
    pub background_absorbed: usize,
    pub invented_actions: usize,
    pub predicted_actions: usize,
    pub command_accuracy: Option<f64>,
}

/// How one true action was found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionScore {
    pub kind: String,
    pub command: String,
    pub jaccard: f64,
    pub found: Option<u64>,
    pub found_command: Option<String>,
}

/// What is predicted: the action of each request, and the command of each action.
#[derive(Debug, Clone, Default)]
pub struct Prediction {
    pub actions: HashMap<String, u64>,
    pub commands: HashMap<u64, String>,
}

/// Scores a prediction. With `lenient`, requests that the truth cannot judge are left out.
pub fn score(
    units: &[Unit],
    truth: &Truth,
    prediction: &Prediction,
    lenient: bool,
) -> (Score, Vec<ActionScore>) {
    let received: HashMap<&str, Timestamp> =
        units.iter().rev().map(|unit| (&*unit.audit_id, unit.received)).collect();
    let (mut label, early) = labels(truth, &received);
    let predicted = |id: &str| prediction.actions.get(id).copied();
    let home = homes(truth, prediction, |n, id| label.get(id) == Some(&n));
    accept(truth, prediction, &home, &mut label);

    let mut seen = HashSet::new();
    let units: Vec<&str> = units
        .iter()
        .filter(|unit| seen.insert(&*unit.audit_id))
        .filter(|unit| !early.contains(&*unit.audit_id) && !truth.unjudged.contains(&unit.audit_id))
        .filter(|unit| !lenient || !unit.is_vague || label.contains_key(&*unit.audit_id))
        .map(|unit| &*unit.audit_id)
        .collect();

    let mut true_sizes: BTreeMap<usize, u64> = BTreeMap::new();
    for n in label.values() {
        *true_sizes.entry(*n).or_default() += 1;
    }
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut cells: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut absorbed: BTreeMap<u64, u64> = BTreeMap::new();
    for id in &units {
        let Some(found) = predicted(id) else { continue };
        *sizes.entry(found).or_default() += 1;
        match label.get(*id) {
            Some(n) => *cells.entry((*n, found)).or_default() += 1,
            None => *absorbed.entry(found).or_default() += 1,
        }
    }

    let pairs = |n: u64| (n * n.saturating_sub(1) / 2) as f64;
    let both: f64 = cells.values().map(|n| pairs(*n)).sum();
    let of_truth: f64 = true_sizes.values().map(|n| pairs(*n)).sum();
    let of_prediction: f64 = sizes.values().map(|n| pairs(*n)).sum();
    let ratio = |part: f64, whole: f64, empty: f64| if whole > 0.0 { part / whole } else { empty };
    let (precision, recall) = (ratio(both, of_prediction, 1.0), ratio(both, of_truth, 1.0));
    let all = pairs(units.len() as u64);
    let expected = ratio(of_truth * of_prediction, all, 0.0);
    let top = f64::midpoint(of_truth, of_prediction);

    let mut score = Score {
        units: units.len(),
        actions: true_sizes.len(),
        background: units.iter().filter(|id| !label.contains_key(**id)).count(),
        pair_precision: precision,
        pair_recall: recall,
        pair_f1: ratio(2.0 * precision * recall, precision + recall, 0.0),
        adjusted_rand: if (top - expected).abs() > f64::EPSILON {
            (both - expected) / (top - expected)
        } else {
            1.0
        },
        predicted_actions: sizes.len(),
        ..Score::default()
    };
    let touched: BTreeSet<u64> = cells.keys().map(|(_, found)| *found).collect();
    for (found, n) in &absorbed {
        if touched.contains(found) {
            score.background_absorbed += *n as usize;
        } else {
            score.invented_actions += 1;
        }
    }
    let rows = rows(truth, &true_sizes, &sizes, &cells, prediction, &mut score);
    causes(truth, prediction, &label, &home, &mut score);
    (score, rows)
}

/// The action of each request, and the requests that came before what they should follow from.
fn labels<'t>(
    truth: &'t Truth,
    received: &HashMap<&str, Timestamp>,
) -> (HashMap<&'t str, usize>, HashSet<&'t str>) {
    const SLACK: i64 = 100_000;
    let mut claims: HashMap<&str, (u8, i64, usize)> = HashMap::new();
    let is_hard = truth.actions.iter().any(|action| !action.also_acceptable.is_empty());
    let mut claim = |id: &'t str, rank: (u8, i64, usize)| {
        let best = claims.entry(id).or_insert(rank);
        *best = (*best).max(rank);
    };
    for (n, action) in truth.actions.iter().enumerate() {
        let (start, end) = (action.start.0, action.end.0);
        for id in &action.roots {
            let Some(time) = received.get(&**id) else { continue };
            if is_hard || (start - SLACK..=end + SLACK).contains(&time.0) {
                claim(id, (1, start, n));
            }
        }
        for id in &action.caused {
            let Some(time) = received.get(&**id) else { continue };
            claim(id, (0, if start <= time.0 { start } else { -1 }, n));
        }
    }
    let mut label: HashMap<&str, usize> =
        claims.into_iter().map(|(id, (_, _, n))| (id, n)).collect();
    if is_hard {
        return (label, HashSet::new());
    }

    let mut first: HashMap<usize, Timestamp> = HashMap::new();
    for (n, action) in truth.actions.iter().enumerate() {
        for id in action.roots.iter().filter(|id| label.get(&***id) == Some(&n)) {
            let time = received[&**id];
            first.entry(n).and_modify(|first| *first = (*first).min(time)).or_insert(time);
        }
    }
    let is_early =
        |(id, n): (&&str, &usize)| first.get(n).is_some_and(|first| received[*id] < *first);
    let early: HashSet<&str> =
        label.iter().filter(|entry| is_early(*entry)).map(|(id, _)| *id).collect();
    label.retain(|id, _| !early.contains(id));
    (label, early)
}

/// The predicted action that holds most roots of each true one.
fn homes(
    truth: &Truth,
    prediction: &Prediction,
    is_root: impl Fn(usize, &str) -> bool,
) -> HashMap<usize, u64> {
    let mut home = HashMap::new();
    for (n, action) in truth.actions.iter().enumerate() {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for id in action.roots.iter().filter(|id| is_root(n, id)) {
            if let Some(found) = prediction.actions.get(id) {
                *counts.entry(*found).or_default() += 1;
            }
        }
        if let Some((found, _)) =
            counts.into_iter().max_by_key(|(found, n)| (*n, std::cmp::Reverse(*found)))
        {
            home.insert(n, found);
        }
    }
    home
}

/// A request with several acceptable actions belongs to the one that was predicted.
fn accept<'t>(
    truth: &'t Truth,
    prediction: &Prediction,
    home: &HashMap<usize, u64>,
    label: &mut HashMap<&'t str, usize>,
) {
    for (id, others) in &truth.also {
        let found = prediction.actions.get(id);
        if found.is_none() && others.contains(&None) {
            label.remove(&**id);
            continue;
        }
        for other in others.iter().flatten() {
            if found.is_some() && home.get(other) == found {
                label.insert(id, *other);
                break;
            }
        }
    }
}

fn rows(
    truth: &Truth,
    true_sizes: &BTreeMap<usize, u64>,
    sizes: &BTreeMap<u64, u64>,
    cells: &BTreeMap<(usize, u64), u64>,
    prediction: &Prediction,
    score: &mut Score,
) -> Vec<ActionScore> {
    let mut rows = Vec::new();
    let (mut sum, mut n_perfect, mut n_right) = (0.0, 0, 0);
    for (n, size) in true_sizes {
        let mine: Vec<(u64, u64)> = cells
            .range((*n, 0)..=(*n, u64::MAX))
            .map(|((_, found), count)| (*found, *count))
            .collect();
        let jaccard =
            |(found, count): &(u64, u64)| *count as f64 / (size + sizes[found] - count) as f64;
        let best = mine
            .iter()
            .map(|cell| (jaccard(cell), cell.0))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let covered: u64 = mine.iter().map(|(_, count)| count).sum();
        let parts = mine.len() as u64 + (size - covered);
        let is_foreign = mine.iter().any(|(found, count)| sizes[found] != *count);
        let value = best.map_or(0.0, |best| best.0);
        sum += value;
        match (value >= 1.0, mine.is_empty(), parts > 1, is_foreign) {
            (true, ..) => n_perfect += 1,
            (_, true, ..) => score.missed += 1,
            (_, _, true, true) => score.split_and_merged += 1,
            (_, _, true, false) => score.split += 1,
            _ => score.merged += 1,
        }
        let found = best.map(|best| best.1);
        let found_command = found.and_then(|found| prediction.commands.get(&found)).cloned();
        let action = &truth.actions[*n];
        n_right += u64::from(
            found_command.as_ref().is_some_and(|found| is_command(found, &action.command)),
        );
        rows.push(ActionScore {
            kind: action.kind.clone(),
            command: action.command.clone(),
            jaccard: value,
            found,
            found_command,
        });
    }
    let n = true_sizes.len().max(1) as f64;
    score.mean_jaccard = sum / n;
    score.perfect = f64::from(n_perfect) / n;
    score.command_accuracy = (!prediction.commands.is_empty()).then_some(n_right as f64 / n);
    rows
}

fn causes(
    truth: &Truth,
    prediction: &Prediction,
    label: &HashMap<&str, usize>,
    home: &HashMap<usize, u64>,
    score: &mut Score,
) {
    let roots: HashSet<(usize, &str)> = truth
        .actions
        .iter()
        .enumerate()
        .flat_map(|(n, action)| action.roots.iter().map(move |id| (n, &**id)))
        .collect();
    let (mut right, mut left_out) = (0, 0);
    for (id, n) in label.iter().filter(|(id, n)| !roots.contains(&(**n, **id))) {
        score.caused += 1;
        match prediction.actions.get(*id) {
            None => left_out += 1,
            found if found == home.get(n) => right += 1,
            _ => {}
        }
    }
    let n = score.caused.max(1) as f64;
    score.cause_accuracy = f64::from(right) / n;
    score.caused_left_out = f64::from(left_out) / n;
}

/// Whether the name found for a command fits what was typed: one of its alternatives is how the typed
/// command begins, flags and the names of files aside.
pub fn is_command(found: &str, typed: &str) -> bool {
    let words: Vec<&str> = typed.split_whitespace().collect();
    let Some((program, words)) = words.split_first() else { return false };
    let normal: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    found.split(" or ").any(|alternative| {
        let parts: Vec<&str> = alternative.split(' ').collect();
        if *program == "kubectl" {
            normal.len() >= parts.len()
                && parts.iter().zip(&normal).all(|(part, word)| part == word)
        } else if parts.first() == Some(program) {
            parts.iter().skip(1).zip(&normal).all(|(part, word)| part == word)
        } else {
            // Other programs are known by their verb only.
            !["helm", "kubectl"].contains(program)
        }
    })
}

/// A request that the prediction and the truth see differently.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disagreement {
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// The number of the true action; `None` for background.
    pub expected: Option<usize>,
    /// The number of the true action whose roots are where the request was put.
    pub found: Option<usize>,
    pub is_root: bool,
}

/// Every request that is not where the truth wants it.
pub fn disagreements(units: &[Unit], truth: &Truth, prediction: &Prediction) -> Vec<Disagreement> {
    let received: HashMap<&str, Timestamp> =
        units.iter().rev().map(|unit| (&*unit.audit_id, unit.received)).collect();
    let (mut label, early) = labels(truth, &received);
    let home = homes(truth, prediction, |n, id| label.get(id) == Some(&n));
    accept(truth, prediction, &home, &mut label);
    let mut owner: BTreeMap<u64, usize> = BTreeMap::new();
    for (n, found) in &home {
        owner.entry(*found).and_modify(|old| *old = (*old).min(*n)).or_insert(*n);
    }

    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for unit in units.iter().filter(|unit| seen.insert(&*unit.audit_id)) {
        let id = &*unit.audit_id;
        if early.contains(id) || truth.unjudged.contains(id) {
            continue;
        }
        let expected = label.get(id).copied();
        let predicted = prediction.actions.get(id);
        let found = predicted.and_then(|found| owner.get(found)).copied();
        if expected != found || (predicted.is_some() && found.is_none()) {
            let is_root =
                expected.is_some_and(|n| truth.actions[n].roots.iter().any(|root| root == id));
            all.push(Disagreement { audit_id: id.to_owned(), expected, found, is_root });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &str, typed: &str, expected: bool) {
        assert_eq!(is_command(found, typed), expected, "{found} for {typed}");
    }

    #[test]
    fn commands_match_what_was_typed() {
        check("rollout restart", "kubectl rollout restart deployment/web -n shop", true);
        check("set image or rollout restart", "kubectl rollout restart deployment/web", true);
        check("cordon or uncordon", "kubectl taint node cp-1 a=b:NoSchedule", false);
        check("auth can-i", "kubectl auth can-i --list", true);
        check("helm upgrade", "helm upgrade web chart", true);
        check("helm install", "helm upgrade web chart", false);
    }
}

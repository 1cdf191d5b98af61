//! Writes the compiled plan: selections, links, key sets and steps.

use super::{
    keeps, masks,
    model::{
        Alt, EntryId, LinkId, LinkSpec, Model, RootIdentity, key_column, key_columns, row_key, table_name,
    },
    order::Order,
    paths::Paths,
    pointers,
    reads::{self, Read},
    rectify, resources, version,
};
use crate::domain::{
    compiled::{
        Action, Alternative, CompiledPlan, Constant, ExportColumns, Exported, Identity, KeyColumn, KeySet,
        Link, Root, Rows, Source, Step,
    },
    plan::{Erase, Export},
    schema::Column,
};

pub(super) fn build(model: &Model<'_>, paths: &Paths, order: &Order) -> CompiledPlan {
    let all = reads::all(model, paths, &order.forced);
    let mut builder = Builder { model, order, reads: all, root_columns: Vec::new(), key_sets: Vec::new() };
    let identities = builder.identities(&model.root.identities);
    let scope = builder.identities(&model.root.scope);
    let key: Vec<usize> = model.root.key.iter().map(|column| builder.root_column(column)).collect();
    let erasure: Vec<Step> = (0..order.steps.len()).map(|index| builder.step(index)).collect();
    let export: Vec<Step> = (0..model.entries.len()).filter_map(|id| builder.export(id)).collect();
    let rectification = rectify::steps(&mut builder, paths);
    let must_be_unshared = builder.must_be_unshared();
    let place = &model.tables[model.root.table];
    let mut plan = CompiledPlan {
        name: model.plan.name.value.clone(),
        version: String::new(),
        root: Root {
            connection: place.connection.to_owned(),
            table: table_name(place.table),
            columns: builder.root_columns,
            identities,
            scope,
            key,
            must_be_unshared,
        },
        key_sets: builder.key_sets,
        erasure: erasure.into(),
        export: export.into(),
        rectification: rectification.into(),
        about: model.plan.about.clone(),
        connections: Vec::new(),
        manual: model.plan.manual.iter().map(|step| step.value.clone()).collect(),
        code: model.plan.code.iter().map(|step| step.value.clone()).collect(),
    };
    plan.connections = connections(model, &plan);
    plan.version = version::of(&plan);
    plan
}

/// In the order of the file.
fn connections(model: &Model<'_>, plan: &CompiledPlan) -> Vec<String> {
    let used = |name: &str| {
        plan.root.connection == name
            || plan
                .erasure
                .iter()
                .chain(&*plan.export)
                .chain(&*plan.rectification)
                .any(|step| step.connection == name)
            || plan.key_sets.iter().any(|set| set.connection == name)
    };
    model.plan.connections.iter().map(|known| known.value.clone()).filter(|name| used(name)).collect()
}

/// `None`: nothing is handed out.
fn export_columns(export: &Export) -> Option<ExportColumns> {
    match export {
        Export::All => Some(ExportColumns::All),
        Export::None | Export::Call(_) => None,
        Export::Columns(columns) => {
            Some(ExportColumns::Listed(columns.iter().map(|column| column.value.clone()).collect()))
        }
    }
}

pub(super) struct Builder<'m, 'a> {
    pub(super) model: &'m Model<'a>,
    order: &'m Order,
    reads: Vec<Vec<Read>>,
    root_columns: Vec<KeyColumn>,
    key_sets: Vec<KeySet>,
}

impl Builder<'_, '_> {
    fn identities(&mut self, identities: &[RootIdentity<'_>]) -> Vec<Identity> {
        identities
            .iter()
            .map(|identity| Identity {
                name: identity.name.to_owned(),
                column: self.root_column(identity.column),
                ignore_case: identity.ignore_case,
            })
            .collect()
    }

    /// The position of a column in the root tuple.
    fn root_column(&mut self, column: &Column) -> usize {
        let known = self.root_columns.iter().position(|known| known.name == column.name);
        known.unwrap_or_else(|| {
            self.root_columns.push(key_column(column));
            self.root_columns.len() - 1
        })
    }

    fn step(&mut self, index: usize) -> Step {
        let id = self.order.steps[index];
        let entry = &self.model.entries[id];
        let earlier: Vec<EntryId> = self.model.earlier(id).collect();
        let rows = Rows { except: self.bare_all(&earlier), ..self.bare(id) };
        let openers =
            self.order.openers.get(&id).map(|within| Rows { within: self.bare_all(within), ..self.bare(id) });
        let (action, basis) = match entry.erase() {
            Erase::Delete => (Action::Delete, None),
            Erase::DeleteIfUnreferenced => {
                (Action::DeleteIfUnreferenced { references: pointers::references(self.model, id) }, None)
            }
            Erase::Unlink => (Action::Unlink { columns: key_columns(&entry.unlinked()) }, None),
            Erase::Mask { columns, basis } => {
                (Action::Mask(masks::mask(self.model, id, columns)), basis.clone())
            }
            Erase::Call { call, verify } => (resources::erase(call, verify), None),
            Erase::Keep(keep) if self.model.is_resource(entry) => {
                (resources::keep(entry), Some(keep.reason.clone()))
            }
            Erase::Keep(keep) => {
                let until = keeps::until(self.model, id);
                (until.map_or(Action::Keep, Action::KeepUntil), Some(keep.reason.clone()))
            }
            Erase::None(reason) => (Action::Keep, Some(reason.clone())),
        };
        Step {
            name: entry.name.clone(),
            connection: self.model.table_of(id).connection.to_owned(),
            rows,
            action,
            basis,
            is_root: entry.is_root,
            cuts: self.order.cuts[index].clone(),
            openers,
        }
    }

    /// What an access request reads of an entry. Other people's rows, which an `unlink` is about, are never handed
    /// out; nor is what has no personal data in it, unless the plan lists its columns.
    fn export(&mut self, id: EntryId) -> Option<Step> {
        let entry = &self.model.entries[id];
        if self.model.is_resource(entry) {
            return resources::export(entry).map(|action| self.at_service(id, action));
        }
        let columns = match &entry.entry.export.value {
            Export::All if matches!(entry.erase(), Erase::None(_)) => return None,
            export => export_columns(export)?,
        };
        if entry.is_unlink() {
            return None;
        }
        // A row that an `unlink` takes in an erasure may be the person's own all the same.
        let earlier: Vec<EntryId> =
            self.model.earlier(id).filter(|&other| !self.model.entries[other].is_unlink()).collect();
        let portable = entry.entry.portable.as_ref().and_then(|portable| export_columns(&portable.value));
        Some(Step {
            name: entry.name.clone(),
            connection: self.model.table_of(id).connection.to_owned(),
            rows: Rows { except: self.bare_all(&earlier), ..self.bare(id) },
            action: Action::Export(Exported { columns, portable, about: entry.entry.about.clone() }),
            basis: None,
            is_root: entry.is_root,
            cuts: Vec::new(),
            openers: None,
        })
    }

    /// A step at an HTTP service, where no other entry takes anything from this one.
    pub(super) fn at_service(&mut self, id: EntryId, action: Action) -> Step {
        Step {
            name: self.model.entries[id].name.clone(),
            connection: self.model.table_of(id).connection.to_owned(),
            rows: self.bare(id),
            action,
            basis: None,
            is_root: false,
            cuts: Vec::new(),
            openers: None,
        }
    }

    pub(super) fn bare_all(&mut self, ids: &[EntryId]) -> Vec<Rows> {
        ids.iter().map(|&id| self.bare(id)).collect()
    }

    /// The rows that an entry names, whoever takes them.
    pub(super) fn bare(&mut self, id: EntryId) -> Rows {
        let model = self.model;
        let entry = &model.entries[id];
        let table = model.tables[entry.table].table;
        let any_of = if entry.is_root {
            vec![self.root_row()]
        } else {
            let alternatives = entry.alternatives.iter().enumerate();
            alternatives.flat_map(|(index, alt)| self.alternatives(id, index, alt)).collect()
        };
        Rows {
            table: table_name(table),
            key: key_columns(&row_key(table)),
            any_of,
            filter: entry.entry.filter.as_ref().map(|filter| filter.value.clone()),
            except: Vec::new(),
            within: Vec::new(),
        }
    }

    /// The rows that a reference to the table of that entry means. Those that an earlier `unlink` takes are other
    /// people's; those that other earlier entries take are the subject's own all the same.
    fn read(&mut self, id: EntryId) -> Rows {
        let unlinks: Vec<EntryId> =
            self.model.earlier(id).filter(|&other| self.model.entries[other].is_unlink()).collect();
        Rows { except: self.bare_all(&unlinks), ..self.bare(id) }
    }

    fn root_row(&mut self) -> Alternative {
        let model = self.model;
        let positions = model.root.key.iter().map(|column| self.root_column(column)).collect();
        let columns = key_columns(&model.root.key);
        let ignore_case = vec![false; columns.len()];
        let link =
            Link { source_columns: columns.clone(), columns, source: Source::Root(positions), ignore_case };
        Alternative::Match { links: vec![link], constants: Vec::new() }
    }

    /// One alternative of the plan is several where a table that it reads stands for several selections.
    fn alternatives(&mut self, entry: EntryId, alternative: usize, alt: &Alt<'_>) -> Vec<Alternative> {
        let mut combined: Vec<Vec<Link>> = vec![Vec::new()];
        for (link, spec) in alt.links.iter().enumerate() {
            let sources = self.sources(LinkId { entry, alternative, link }, spec);
            combined = combined
                .iter()
                .flat_map(|links| {
                    sources.iter().map(|source| {
                        let mut links = links.clone();
                        links.push(self.link(spec, source.clone()));
                        links
                    })
                })
                .collect();
        }
        let with_links = |links: Vec<Link>| match &alt.pieces {
            Some(pieces) => Alternative::Sql { pieces: pieces.clone(), links },
            None => {
                let constant = |(column, value): &(&Column, String)| Constant {
                    column: key_column(column),
                    value: value.clone(),
                };
                Alternative::Match { links, constants: alt.constants.iter().map(constant).collect() }
            }
        };
        combined.into_iter().map(with_links).collect()
    }

    fn link(&self, spec: &LinkSpec<'_>, source: Source) -> Link {
        Link {
            columns: key_columns(&spec.own),
            source,
            source_columns: key_columns(&spec.theirs),
            ignore_case: spec
                .theirs
                .iter()
                .map(|column| self.model.ignores_case(spec.target, column))
                .collect(),
        }
    }

    fn sources(&mut self, id: LinkId, spec: &LinkSpec<'_>) -> Vec<Source> {
        let model = self.model;
        let mut sources = Vec::new();
        if spec.target == model.root.table {
            sources.push(Source::Root(spec.theirs.iter().map(|column| self.root_column(column)).collect()));
        }
        let owned: Vec<EntryId> = model.owned(spec.target).collect();
        let others: Vec<EntryId> = owned.iter().copied().filter(|&other| other != id.entry).collect();
        if others.len() < owned.len() {
            sources.push(Source::Itself);
        }
        if others.is_empty() {
            return sources;
        }
        if reads::is_live(model, &self.order.forced, id) {
            sources.push(Source::Live(others.into_iter().map(|other| self.read(other)).collect()));
        } else {
            sources.extend(others.into_iter().map(|other| Source::Keys(self.key_set(id, other, spec))));
        }
        sources
    }

    fn key_set(&mut self, link: LinkId, source: EntryId, spec: &LinkSpec<'_>) -> usize {
        let set = KeySet {
            connection: self.model.tables[spec.target].connection.to_owned(),
            rows: self.read(source),
            columns: key_columns(&spec.theirs),
            readable_until: self.readable_until(link, source, spec),
        };
        let known = self.key_sets.iter().position(|known| *known == set);
        known.unwrap_or_else(|| {
            self.key_sets.push(set);
            self.key_sets.len() - 1
        })
    }

    /// The first step that changes what the set is read from.
    fn readable_until(&self, link: LinkId, source: EntryId, spec: &LinkSpec<'_>) -> Option<usize> {
        let columns = spec.theirs.iter().map(|column| column.name.clone()).collect();
        let own = Read { link, source, columns };
        self.order.steps.iter().position(|&step| {
            std::iter::once(&own)
                .chain(&self.reads[source])
                .any(|read| reads::cuts(self.model, &self.order.openers, step, read))
        })
    }

    /// The sets of root columns that are matched, might be shared, and must not be.
    fn must_be_unshared(&mut self) -> Vec<Vec<usize>> {
        let model = self.model;
        let table = model.tables[model.root.table].table;
        let mut sets: Vec<Vec<usize>> = Vec::new();
        for id in (0..model.entries.len()).filter(|&id| !model.entries[id].may_be_shared()) {
            for (_, spec) in model.links(id).filter(|(_, spec)| spec.target == model.root.table) {
                let names: Vec<String> = spec.theirs.iter().map(|column| column.name.clone()).collect();
                // A unique index tells upper from lower case, a match that ignores case does not.
                let caseless = spec.theirs.iter().any(|column| model.ignores_case(spec.target, column));
                if table.is_unique(&names) && !caseless {
                    continue;
                }
                let mut set: Vec<usize> = spec.theirs.iter().map(|column| self.root_column(column)).collect();
                set.sort_unstable();
                set.dedup();
                if !sets.contains(&set) {
                    sets.push(set);
                }
            }
        }
        sets
    }
}

//! One instance of a task's module in its virtual world: runs from a stop to the next, and turns
//! into a checkpoint and back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use base::Digest;
use wasmtime::{
    Extern, Global, Instance as EngineInstance, Linker, Memory, Module, Store, Trap, TypedFunc, Val,
};

use crate::baseline::{Baseline, Copy, Pages};
use crate::checkpoint::{
    self, CheckpointError, GlobalValue, LEAF_BYTES, Manifest, Part, is_zero, zero_leaf,
};
use crate::float;
use crate::host::{Host, define};
use crate::kept_tables;
use crate::leaf::Leaf;
use crate::save::CheckpointFile;
use crate::stop::{self, Stop};
use crate::task::Task;
use crate::transform::genesis;
use crate::transform::layout::{self, export};
use crate::value::{from_val, to_val};
use crate::world::{Function, World, WorldConfig, WorldError};

/// Why an instance can't be made or go on. None of these is a result.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The world's parameters are unusable.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The module does not fit itself.
    #[error("a data or element segment of the module lies outside its memory or table; rebuild it")]
    Segment,
    /// The host failed: memory, native stack.
    #[error("machine fault: {0}")]
    Fault(String),
}

pub(crate) fn fault(error: wasmtime::Error) -> InstanceError {
    InstanceError::Fault(format!("{error:#}"))
}

/// A task's program, somewhere between its first and last instruction.
pub struct Instance {
    /// Before the store: what it watches must outlive it.
    baseline: Baseline,
    store: Store<Host>,
    start: TypedFunc<(), ()>,
    frames: Memory,
    /// In which tables are kept, and what makes them what it says.
    tables: Option<(Memory, TypedFunc<(), ()>)>,
    globals: Vec<Global>,
    own: Own,
    /// The task's cumulative fuel.
    pub used: u64,
    /// Integral of pages held over fuel.
    pub memory_page_fuel: u64,
    /// Low bits of the fuel global at the last safepoint.
    depth: u32,
    /// Whether frames are saved, so that the next run rewinds.
    suspended: bool,
    /// Where in the frame memory they are; the other area is all zeros.
    saved: Range<usize>,
    /// Whether that is the second area.
    second: bool,
    /// Whether the module is of the exact build.
    pub exact: bool,
}

struct Own {
    fuel: Global,
    frames_end: Global,
    rewind_at: Global,
    unwinding: Global,
    resume: Global,
    trap: Global,
    grown: Global,
    floor: Global,
}

/// The state of an instance, in parts; the bytes are its [`Instance::leaves`].
pub struct State {
    pub globals: Vec<GlobalValue>,
    pub depth: u32,
    pub memory: Option<Part>,
    pub frames: Part,
    pub tables: Option<Part>,
    pub world_meta: Vec<u8>,
    pub contents: Vec<Part>,
}

/// The world of a task.
pub fn world_config(task: &Task) -> WorldConfig {
    let inputs: BTreeMap<String, Arc<[u8]>> = task
        .inputs
        .iter()
        .map(|(name, content)| (name.clone(), Arc::from(content.as_slice())))
        .collect();
    WorldConfig {
        args: task.args.clone(),
        env: task.env.clone(),
        stdin: Arc::from(task.stdin.as_slice()),
        inputs: Arc::new(inputs),
        output_max_bytes: task.output_max_bytes,
        seed: task.seed,
        clock_start_ms: task.clock_start_ms,
    }
}

impl Instance {
    /// A new instance, before its first instruction.
    pub fn new(module: &Module, task: &Task, config: &WorldConfig) -> Result<Self, InstanceError> {
        let world = World::new(config.clone())?;
        let host = Host {
            world,
            memory: None,
            fuel: None,
            stop: 0,
            floor: i64::MIN,
            memory_max_bytes: task.memory_max_pages as usize * 65536,
            marked: None,
            called_since: false,
            shortage: None,
        };
        let mut store = Store::new(module.engine(), host);
        // The frame memory is ours and not counted against the guest's limit.
        let mut linker = Linker::new(module.engine());
        // Go imports some functions twice; both are the same one here.
        linker.allow_shadowing(true);
        for import in module.imports() {
            let function = Function::from_name(import.name())
                .ok_or_else(|| InstanceError::Fault("an artefact has other imports".to_owned()))?;
            let Some(ty) = import.ty().func().cloned() else {
                return Err(InstanceError::Fault("an artefact has other imports".to_owned()));
            };
            define(&mut linker, function, ty).map_err(fault)?;
        }
        let limits_off = store.data().memory_max_bytes;
        store.data_mut().memory_max_bytes = usize::MAX;
        store.limiter(|host| host);
        let instance =
            linker.instantiate(&mut store, module).map_err(|error| match error.downcast_ref() {
                Some(Trap::MemoryOutOfBounds | Trap::TableOutOfBounds) => InstanceError::Segment,
                _ => fault(error),
            })?;
        store.data_mut().memory_max_bytes = limits_off;

        let memory = instance.get_memory(&mut store, export::MEMORY);
        let frames = instance
            .get_memory(&mut store, export::FRAMES)
            .ok_or_else(|| InstanceError::Fault("an artefact lacks its frame memory".to_owned()))?;
        let tables = match instance.get_memory(&mut store, export::TABLES) {
            Some(memory) => {
                let restore = instance.get_typed_func(&mut store, export::RESTORE_TABLES);
                Some((memory, restore.map_err(fault)?))
            }
            None => None,
        };
        let own = Own {
            fuel: global(&instance, &mut store, export::FUEL)?,
            frames_end: global(&instance, &mut store, export::FRAMES_END)?,
            rewind_at: global(&instance, &mut store, export::REWIND_AT)?,
            unwinding: global(&instance, &mut store, export::UNWINDING)?,
            resume: global(&instance, &mut store, export::RESUME)?,
            trap: global(&instance, &mut store, export::TRAP)?,
            grown: global(&instance, &mut store, export::GROWN)?,
            floor: global(&instance, &mut store, export::FLOOR)?,
        };
        let mut globals: Vec<(u32, Global)> = Vec::new();
        for export in instance.exports(&mut store) {
            let index = export.name().strip_prefix(export::GLOBAL).and_then(|n| n.parse().ok());
            if let (Some(index), Extern::Global(global)) = (index, export.clone().into_extern()) {
                globals.push((index, global));
            }
        }
        globals.sort_by_key(|(index, _)| *index);
        store.data_mut().memory = memory;
        store.data_mut().fuel = Some(own.fuel);
        let start = instance.get_typed_func(&mut store, export::START).map_err(fault)?;
        let bytes_max = task.memory_max_pages as usize * 65536;
        let pages = memory.map(|memory| {
            let declared = memory.ty(&store).maximum().unwrap_or(1 << 16) as usize * 65536;
            let most = declared.min(bytes_max).max(memory.data_size(&store));
            let mut pages = Pages::new(memory.data_ptr(&store), most);
            // Known since the module was compiled: not read, let alone hashed, again.
            let bytes = memory.data(&store);
            let mut names = module.exports().map(|export| export.name());
            if let Some(part) = names.find_map(|name| genesis::part(name, bytes.len() as u64)) {
                pages.adopt(&part, bytes);
            }
            pages
        });
        let baseline = Baseline { memory: pages, ..Baseline::default() };
        Ok(Instance {
            baseline,
            store,
            start,
            frames,
            tables,
            globals: globals.into_iter().map(|(_, global)| global).collect(),
            own,
            used: 0,
            memory_page_fuel: 0,
            depth: 0,
            suspended: false,
            saved: 0..0,
            second: false,
            exact: false,
        })
    }

    /// An instance in the state of a checkpoint, whose parts were checked.
    pub fn restore(
        module: &Module,
        task: &Task,
        config: &WorldConfig,
        manifest: &Manifest,
        leaves: &BTreeMap<Digest, Leaf>,
    ) -> Result<Self, InstanceError> {
        let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
        // Before anything is allocated for it: a manifest of kilobytes can name gigabytes of zeros.
        let contents_bytes: u128 =
            manifest.contents.iter().map(|part| u128::from(part.bytes)).sum();
        let memory_bytes = manifest.memory.as_ref().map_or(0, |part| part.bytes);
        if manifest.frames.bytes > layout::FRAME_PAGES * 65536
            || !manifest.frames.bytes.is_multiple_of(8)
            || memory_bytes > u64::from(task.memory_max_pages) * 65536
            || contents_bytes > u128::from(task.output_max_bytes)
        {
            return Err(damaged("it is larger than the task may be").into());
        }
        let usage = manifest.usage;
        let most = [usage.fuel, usage.memory_page_fuel / 65536, usage.state_bytes >> 16];
        if most.iter().any(|&figure| figure > 2 * base::TASK_FUEL_MAX) {
            return Err(damaged("its usage is impossible").into());
        }
        let mut instance = Instance::new(module, task, config)?;
        let contents = manifest
            .contents
            .iter()
            .map(|part| checkpoint::bytes(part, leaves))
            .collect::<Result<Vec<_>, _>>()?;
        instance.store.data_mut().world =
            World::restore(config.clone(), &manifest.world_meta, contents)?;

        if manifest.globals.len() != instance.globals.len() {
            return Err(damaged("it has another number of globals").into());
        }
        for (global, value) in instance.globals.iter().zip(&manifest.globals) {
            global
                .set(&mut instance.store, to_val(*value))
                .map_err(|_| damaged("a global has another type"))?;
        }
        match (instance.store.data().memory, &manifest.memory) {
            (None, None) => {}
            (Some(memory), Some(part)) => {
                let now = memory.data_size(&instance.store);
                if !part.bytes.is_multiple_of(65536) || part.bytes < now as u64 {
                    return Err(damaged("its memory has an impossible size").into());
                }
                memory
                    .grow(&mut instance.store, (part.bytes - now as u64) / 65536)
                    .map_err(fault)?;
                write_changed(memory.data_mut(&mut instance.store), now, part, leaves)?;
            }
            _ => return Err(damaged("it has no memory, or one too many").into()),
        }
        let frames = checkpoint::bytes(&manifest.frames, leaves)?;
        let area = layout::frame_area(false);
        instance.saved = area..area + frames.len();
        instance
            .frames
            .data_mut(&mut instance.store)
            .get_mut(instance.saved.clone())
            .ok_or_else(|| damaged("its frames are too many"))?
            .copy_from_slice(&frames);
        instance.restore_tables(manifest, leaves)?;
        if manifest.depth >= 1 << layout::DEPTH_BITS {
            return Err(damaged("its depth is impossible").into());
        }
        instance.depth = manifest.depth;
        instance.suspended = !frames.is_empty();
        instance.used = manifest.usage.fuel;
        instance.memory_page_fuel = manifest.usage.memory_page_fuel;
        instance.adopt(manifest, leaves)?;
        Ok(instance)
    }

    fn restore_tables(
        &mut self,
        manifest: &Manifest,
        leaves: &BTreeMap<Digest, Leaf>,
    ) -> Result<(), InstanceError> {
        let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
        let (memory, restore, part) = match (&self.tables, &manifest.tables) {
            (None, None) => return Ok(()),
            (Some((memory, restore)), Some(part)) => (*memory, restore.clone(), part),
            _ => return Err(damaged("it has tables, or none, unlike its module").into()),
        };
        let most = memory.data_size(&self.store) as u64;
        if part.bytes > most {
            return Err(damaged("its tables are too large").into());
        }
        kept_tables::write(memory.data_mut(&mut self.store), &checkpoint::bytes(part, leaves)?)?;
        if restore.call(&mut self.store, ()).is_err() {
            if let Some(shortage) = self.store.data_mut().shortage.take() {
                return Err(InstanceError::Fault(shortage));
            }
            return Err(damaged("its tables hold what the module's can't").into());
        }
        Ok(())
    }

    /// An instance in the state of a base, in the world of its own task.
    pub fn after(
        module: &Module,
        task: &Task,
        config: &WorldConfig,
        base: &CheckpointFile,
        manifest: &Manifest,
    ) -> Result<Self, InstanceError> {
        let leaves = base.checkpoint.leaves();
        let start_up = world_config(&base.task);
        let mut instance = Instance::restore(module, task, &start_up, manifest, leaves)?;
        instance.store.data_mut().world =
            World::after(config.clone(), &manifest.world_meta, manifest.usage.fuel)?;
        instance.used = 0;
        instance.memory_page_fuel = 0;
        Ok(instance)
    }

    /// The state is the one of `manifest`: the last capture, as if it had been made here.
    fn adopt(
        &mut self,
        manifest: &Manifest,
        leaves: &BTreeMap<Digest, Leaf>,
    ) -> Result<(), CheckpointError> {
        let lacking = || CheckpointError::Damaged("a leaf is lacking".to_owned());
        let copy = |part| Copy::of(part, leaves).ok_or_else(lacking);
        self.baseline.frames = copy(&manifest.frames)?;
        self.baseline.contents = manifest.contents.iter().map(copy).collect::<Result<_, _>>()?;
        self.baseline.tables = copy(&manifest.tables.clone().unwrap_or_default())?;
        let parts = (self.store.data().memory, &manifest.memory, &mut self.baseline.memory);
        if let (Some(memory), Some(part), Some(pages)) = parts {
            pages.adopt(part, memory.data(&self.store));
        }
        Ok(())
    }

    /// Runs to the first safepoint at which `stop` fuel is reached, or to the program's end.
    /// `fuel_max` is the task's own limit, which no bulk instruction may pass.
    pub fn run(&mut self, stop: u64, fuel_max: u64) -> Result<Stop, InstanceError> {
        let store = &mut self.store;
        store.data_mut().stop = stop;
        let left = stop as i64 - 1 - self.used as i64;
        let value = (left << layout::DEPTH_BITS) | i64::from(self.depth);
        // No bulk instruction costs as much as 2⁴¹ fuel: a limit farther away can't be passed.
        let floor = (stop as i64).saturating_sub_unsigned(fuel_max).max(-(1 << 41));
        let floor = floor << layout::DEPTH_BITS;
        store.data_mut().floor = floor;
        set_i64(&self.own.floor, store, floor);
        set_i64(&self.own.grown, store, 0);
        set_i32(&self.own.unwinding, store, 0);
        set_i32(&self.own.trap, store, 0);
        if self.suspended {
            set_i64(&self.own.resume, store, value);
            set_i64(&self.own.fuel, store, layout::REWIND_START);
        } else {
            set_i64(&self.own.fuel, store, value);
        }
        let area = layout::frame_area(!self.second);
        set_i32(&self.own.rewind_at, store, self.saved.end as i32);
        set_i32(&self.own.frames_end, store, area as i32);
        let pages_before = self.pages();

        float::clear_invalid();
        let result = self.start.call(&mut self.store, ());

        if self.memory_moved() {
            return Err(InstanceError::Fault("the memory moved".to_owned()));
        }
        // All of them were restored, unless they were forged.
        let restored = self.own.rewind_at.get(&mut self.store).i32().unwrap_or(0) as usize;
        if restored != self.saved.start {
            let why = "its frames are none that this program saves".to_owned();
            return Err(CheckpointError::Damaged(why).into());
        }
        let stop_reason = self.reason(result)?;
        if let Some(shortage) = self.store.data_mut().shortage.take() {
            return Err(InstanceError::Fault(shortage));
        }
        if matches!(stop_reason, Stop::Trapped { exact: false, .. }) {
            return Ok(stop_reason);
        }
        let value = self.own.fuel.get(&mut self.store).i64().unwrap_or(0);
        self.depth = (value & ((1 << layout::DEPTH_BITS) - 1)) as u32;
        let used = stop as i64 - 1 - (value >> layout::DEPTH_BITS);
        let used = u64::try_from(used)
            .ok()
            .filter(|&used| used >= self.used && used < 1 << 62)
            .ok_or_else(|| InstanceError::Fault("fuel ran backwards".to_owned()))?;
        if stop_reason == Stop::FuelLimit && used < fuel_max {
            return Err(InstanceError::Fault("a block without a safepoint is too long".to_owned()));
        }
        let pages = self.pages();
        let grown = self.own.grown.get(&mut self.store).i64().unwrap_or(0);
        // ∫ pages d(fuel): what was held all along, and each growth from its own fuel on.
        let held = i128::from(pages_before) * (i128::from(used) - i128::from(self.used))
            + i128::from(pages - pages_before) * (i128::from(used) - i128::from(stop) + 1)
            + i128::from(grown);
        self.memory_page_fuel += u64::try_from(held)
            .map_err(|_| InstanceError::Fault("fuel ran backwards".to_owned()))?;
        self.used = used;
        self.suspended = stop_reason == Stop::Safepoint;
        // What was restored from is saved to next.
        self.frames.data_mut(&mut self.store)[self.saved.clone()].fill(0);
        let end = match self.suspended {
            true => self.own.frames_end.get(&mut self.store).i32().unwrap_or(0) as usize,
            false => area,
        };
        if end < area || end > area + layout::FRAME_PAGES as usize * 65536 {
            return Err(CheckpointError::Damaged("its frames are too many".to_owned()).into());
        }
        (self.saved, self.second) = (area..end, !self.second);
        Ok(stop_reason)
    }

    /// The fuel at which the program first marked the end of its start-up, as far as this
    /// instance has run.
    pub fn marked(&self) -> Option<u64> {
        self.store.data().marked
    }

    /// Whether it called the host after the mark.
    pub fn called_since_mark(&self) -> bool {
        self.store.data().called_since
    }

    /// Whether a NaN was born in the last run.
    pub fn nan_born(&self) -> bool {
        float::invalid()
    }

    fn reason(&mut self, result: Result<(), wasmtime::Error>) -> Result<Stop, InstanceError> {
        match result {
            Ok(()) => {
                let unwound = self.own.unwinding.get(&mut self.store).i32() == Some(1);
                Ok(if unwound { Stop::Safepoint } else { Stop::Exited(0) })
            }
            Err(error) => {
                let why = self.own.trap.get(&mut self.store).i32().unwrap_or(0);
                stop::reason(error, why, self.exact)
            }
        }
    }

    #[cfg(test)]
    pub fn is_watched(&self) -> bool {
        self.baseline.memory.as_ref().is_some_and(Pages::is_watched)
    }

    /// 4 GiB of addresses are reserved for every memory, so this can't happen; if it did, writes
    /// would be missed.
    fn memory_moved(&self) -> bool {
        let memory = self.store.data().memory.zip(self.baseline.memory.as_ref());
        memory.is_some_and(|(memory, pages)| !pages.is_at(memory.data_ptr(&self.store)))
    }

    fn pages(&self) -> u64 {
        self.store.data().memory.map_or(0, |memory| memory.size(&self.store))
    }

    /// The world as it is.
    pub fn world(&self) -> &World {
        &self.store.data().world
    }

    /// Captures the state at a safepoint (or before the first instruction): from now on its
    /// bytes are kept, and the next capture costs what is written until then.
    pub fn state(&mut self) -> State {
        let memory = self.store.data().memory.zip(self.baseline.memory.as_mut());
        let memory = memory.map(|(memory, pages)| pages.update(memory.data(&self.store)).clone());
        let saved = &self.frames.data(&self.store)[self.saved.clone()];
        let frames = self.baseline.frames.update(saved).clone();
        let tables = self.tables.as_ref().map(|(memory, _)| {
            let bytes = kept_tables::read(memory.data(&self.store));
            self.baseline.tables.update(&bytes).clone()
        });
        let world = self.store.data().world.state();
        let contents = self.baseline.contents(&world.contents);
        #[cfg(test)]
        if !self.baseline.memory.as_ref().is_some_and(Pages::is_hidden) {
            let whole = self.store.data().memory.map(|memory| memory.data(&self.store));
            assert_eq!(memory, whole.map(Part::digest_of), "a write to memory was missed");
            let whole: Vec<Part> =
                world.contents.iter().map(|bytes| Part::digest_of(bytes)).collect();
            assert_eq!(contents, whole, "a write to a file was missed");
        }
        let world_meta = world.meta;
        let globals = self.globals.clone();
        let globals = globals.iter().map(|global| from_val(&global.get(&mut self.store))).collect();
        State { globals, depth: self.depth, memory, frames, tables, world_meta, contents }
    }

    /// The leaves of the last capture that are wanted, however far it has run since.
    pub fn leaves(&self, wanted: impl Fn(&Digest) -> bool) -> BTreeMap<Digest, Leaf> {
        self.baseline.collect(self.memory(), wanted)
    }

    /// From now on notices which leaves of the memory are read, and whether one is that `leaves`
    /// doesn't have. Whether that can be done.
    pub fn hide(&mut self, leaves: &BTreeMap<Digest, Leaf>) -> bool {
        self.baseline.memory.as_mut().is_none_or(|pages| pages.hide(leaves))
    }

    /// The first leaf of the memory that would have been needed and was not there.
    pub fn lacked(&self) -> Option<Digest> {
        self.baseline.memory.as_ref().and_then(Pages::lacked)
    }

    /// Whether a leaf of the memory was read or written since it was hidden, or may have been.
    pub fn is_touched(&self, leaf: usize) -> bool {
        self.baseline.memory.as_ref().is_none_or(|pages| pages.is_touched(leaf))
    }

    /// The guest's memory.
    pub fn memory(&self) -> &[u8] {
        self.store.data().memory.map_or(&[][..], |memory| memory.data(&self.store))
    }
}

/// Gives `memory` the bytes of a checkpoint, touching only pages that differ: a fresh memory
/// stays lazy. From `fresh` on it is zeros.
fn write_changed(
    memory: &mut [u8],
    fresh: usize,
    part: &Part,
    leaves: &BTreeMap<Digest, Leaf>,
) -> Result<(), CheckpointError> {
    for (index, (to, digest)) in memory.chunks_mut(LEAF_BYTES).zip(&part.leaves).enumerate() {
        let is_fresh = index * LEAF_BYTES >= fresh;
        if *digest == zero_leaf() {
            if !is_fresh && !is_zero(to) {
                to.fill(0);
            }
            continue;
        }
        // Lacking where only a span is to be run: whoever touches it is noticed.
        let Some(from) = leaves.get(digest) else { continue };
        if from.len() != to.len() {
            return Err(CheckpointError::Damaged(format!("leaf {digest} has another length")));
        }
        for (to, from) in to.chunks_mut(4096).zip(from.chunks(4096)) {
            let same = if is_fresh { is_zero(from) } else { to == from };
            if !same {
                to.copy_from_slice(from);
            }
        }
    }
    Ok(())
}

fn global(
    instance: &EngineInstance,
    store: &mut Store<Host>,
    name: &str,
) -> Result<Global, InstanceError> {
    instance
        .get_global(store, name)
        .ok_or_else(|| InstanceError::Fault(format!("an artefact lacks its `{name}`")))
}

fn set_i64(global: &Global, store: &mut Store<Host>, value: i64) {
    global.set(store, Val::I64(value)).expect("appended globals are mutable");
}

fn set_i32(global: &Global, store: &mut Store<Host>, value: i32) {
    global.set(store, Val::I32(value)).expect("appended globals are mutable");
}

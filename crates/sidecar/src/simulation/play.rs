//! What happens, and what must hold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use nodeweir_domain::config::Config;
use nodeweir_domain::gate::account::{Account, Period, Rules};
use nodeweir_domain::gate::key::{Key, Secret};
use nodeweir_domain::gate::project::{MOST_RATE, Project};
use nodeweir_domain::gate::restrict::Restrictions;
use nodeweir_domain::name::SidecarId;

use super::gate::Sidecar;
use super::store::{Line, Shared, Store, Tables};
use super::truth::Sums;

/// The end of a month.
const MONTH_END: Timestamp = Timestamp::constant(1_796_083_200, 0);

/// Milliseconds of a step, and how many steps the trouble lasts.
const STEP: u64 = 100;
const STEPS: u64 = 3000;

/// Milliseconds of a step without trouble, and by how many everything must be settled: a lease, its grace and how late it is
/// found, clocks that are a minute apart, and some looks.
const CALM_STEP: u64 = 500;
const CALM_STEPS: u64 = 2 * (30 + 60 + 600 + 120 + 180);

const PERCENT: u8 = 2;

pub(super) struct Play {
    shared: Arc<Mutex<Shared>>,
    sums: Arc<Mutex<Sums>>,
    config: Arc<Config>,
    project: Project,
    key: Arc<str>,
    bodies: Vec<Arc<[u8]>>,
    sidecars: Vec<Sidecar>,
    /// Gates that ever were, and those that may have taken something with them.
    born: u64,
    rules: Rules,
    begins: Timestamp,
    /// Requests in a step, at most.
    load: u32,
    story: VecDeque<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn setting(credits: u64) -> (Config, Project, Secret, Key) {
    let text = format!(
        "networks: {{ethereum: {{chain_id: 1, block_time: 12s, leader: {{url: 'http://127.0.0.1:1'}}}}}}
gate: {{overdraft_percent: {PERCENT}, tiers: {{sim: {{requests_per_second: {MOST_RATE}, credits_per_month: {credits}}}}}}}"
    );
    let project = Project {
        id: "acme".parse().unwrap(),
        tier: "sim".parse().unwrap(),
        created: Timestamp::UNIX_EPOCH,
        requests_per_second: None,
        credits_per_month: None,
        methods: Vec::new(),
        websocket: false,
    };
    let secret = Secret::from_random(&[7; 128]).unwrap();
    let key = Key {
        digest: secret.digest(),
        project: project.id.clone(),
        name: "main".parse().unwrap(),
        restrictions: Restrictions::default(),
        created: Timestamp::UNIX_EPOCH,
        expires: None,
        revoked: None,
    };
    (Config::read(&text).unwrap_or_else(|faults| panic!("{faults}")), project, secret, key)
}

fn body(calls: usize) -> Arc<[u8]> {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}"#;
    if calls == 1 { call.as_bytes().into() } else { format!("[{}]", vec![call; calls].join(",")).as_bytes().into() }
}

impl Play {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let credits = rng.choice([2_000, 20_000, 200_000, 5_000_000]).unwrap_or(20_000);
        let (config, project, secret, key) = setting(credits);
        let begins = MONTH_END - Duration::from_secs(rng.u64(0..600));
        let lag = Duration::from_secs(rng.choice([0, 100, 600]).unwrap_or(0));
        let failing = rng.choice([0, 10, 50, 200]).unwrap_or(0);
        let load = rng.choice([1, 4, 20]).unwrap_or(1);
        let count = rng.usize(1..5);
        let tables = Tables { project: Some(project.clone()), key: Some(key), lag, ..Tables::default() };
        let (cut_off, late, told) = (BTreeMap::new(), Vec::new(), Vec::new());
        let shared = Shared { rng, tables, line: Line::Fine, cut_off, failing, late, millis: 0, told };
        let mut play = Self {
            shared: Arc::new(Mutex::new(shared)),
            sums: Arc::default(),
            config: Arc::new(config),
            project,
            key: secret.reveal().into(),
            bodies: [1, 2, 5, 20].map(body).to_vec(),
            sidecars: Vec::new(),
            born: 0,
            rules: Rules::of(credits, PERCENT),
            begins,
            load,
            story: VecDeque::new(),
        };
        play.tell(format!("{credits} credits a month, {count} gates, {failing} of 1000 calls fail"));
        (0..count).for_each(|_| play.start());
        play
    }

    pub(super) fn story(&self) -> String {
        self.story.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Plays all of it; what really happened, or what is broken.
    pub(super) fn run(&mut self) -> Result<Sums, String> {
        for _ in 0..STEPS {
            self.act();
            self.requests();
            self.pass(STEP)?;
        }
        self.calm_down();
        let mut steps = 0;
        while steps < CALM_STEPS {
            self.pass(CALM_STEP)?;
            steps += 1;
        }
        self.check_settled()?;
        self.check_no_false_refusal()?;
        let shared = lock(&self.shared);
        let mut sums = lock(&self.sums).clone();
        sums.written_off = shared.tables.accounts.values().map(|account| account.written_off).sum();
        sums.months = u64::from(shared.tables.accounts.len() > 1);
        Ok(sums)
    }

    fn tell(&mut self, what: impl Into<String>) {
        const MOST: usize = 60;
        let millis = lock(&self.shared).millis;
        self.story.push_back(format!("{:>6}.{}s {}", millis / 1000, millis % 1000 / 100, what.into()));
        if self.story.len() > MOST {
            self.story.pop_front();
        }
    }

    fn now(&self) -> Timestamp {
        self.begins + Duration::from_millis(lock(&self.shared).millis)
    }

    fn start(&mut self) {
        self.born += 1;
        let Ok(of) = format!("g{}", self.born).parse::<SidecarId>() else { return };
        let ahead = lock(&self.shared).rng.i64(-30_000..30_000);
        self.tell(format!("{of} starts, its calendar {ahead} ms ahead"));
        let store = Store { of, shared: Arc::clone(&self.shared) };
        self.sidecars.push(Sidecar::start(store, Arc::clone(&self.config), self.now(), ahead));
    }

    /// Now and then something happens.
    fn act(&mut self) {
        let (choice, seconds, who, line) = {
            let rng = &mut lock(&self.shared).rng;
            let line = rng.choice([Line::Slow, Line::Refused, Line::Silent]).unwrap_or(Line::Slow);
            (rng.u32(..1200), rng.u64(1..120), rng.usize(..self.sidecars.len()), line)
        };
        let id = self.sidecars[who].id.clone();
        let said = match choice {
            0..2 => {
                lock(&self.shared).line = line;
                format!("all lines are {line:?}")
            }
            2..6 => {
                lock(&self.shared).line = Line::Fine;
                "all lines are fine".to_owned()
            }
            6..9 => {
                lock(&self.shared).cut_off.insert(id.clone(), line);
                format!("the line of {id} is {line:?}")
            }
            9..16 => {
                lock(&self.shared).cut_off.remove(&id);
                format!("the line of {id} is as the others")
            }
            16..19 => {
                drop(self.sidecars.remove(who));
                lock(&self.sums).deaths += 1;
                self.start();
                format!("{id} is killed")
            }
            19..21 if !self.sidecars[who].is_stopping() => {
                self.sidecars[who].stop();
                self.start();
                format!("{id} is told to stop")
            }
            21..24 if !self.sidecars[who].is_paused => {
                self.sidecars[who].is_paused = true;
                lock(&self.sums).pauses += 1;
                format!("{id} stands still")
            }
            24..34 if self.sidecars[who].is_paused => {
                self.sidecars[who].is_paused = false;
                format!("{id} goes on")
            }
            34 => {
                self.sidecars[who].ahead = seconds.cast_signed() * 500 - 30_000;
                format!("the calendar of {id} is set to {} ms ahead", self.sidecars[who].ahead)
            }
            35 if self.sidecars.len() < 6 => {
                self.start();
                return;
            }
            36..44 => return self.refund(who),
            _ => return,
        };
        self.tell(said);
    }

    fn refund(&mut self, who: usize) {
        let sidecar = &self.sidecars[who];
        let period = Period::of(self.now() + jiff::SignedDuration::from_millis(sidecar.ahead));
        let credits = {
            let mut refundable = lock(&sidecar.refundable);
            let most = refundable.entry(period).or_default();
            let credits = lock(&self.shared).rng.u64(..=(*most).min(500));
            *most -= credits;
            credits
        };
        sidecar.refund(self.project.id.clone(), period, credits);
        lock(&self.sums).refunded += credits;
        let id = sidecar.id.clone();
        self.tell(format!("{id} is told to give {credits} back"));
    }

    fn requests(&mut self) {
        for sidecar in self.sidecars.iter().filter(|one| !one.is_paused && !one.is_stopping()) {
            let mut shared = lock(&self.shared);
            // A third of the time nobody calls, so that leases fall idle.
            let is_quiet = shared.millis / 20_000 % 3 == 2;
            let count = if is_quiet { 0 } else { shared.rng.u32(..=self.load) };
            for _ in 0..count {
                let body = Arc::clone(&self.bodies[shared.rng.usize(..self.bodies.len())]);
                sidecar.request(body, Arc::clone(&self.key), Arc::clone(&self.sums));
            }
        }
    }

    /// Time passes, late writes arrive, and what must hold is checked.
    fn pass(&mut self, millis: u64) -> Result<(), String> {
        {
            let mut shared = lock(&self.shared);
            shared.millis += millis;
            let now = shared.millis;
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut shared.late).into_iter().partition(|(at, _)| *at <= now);
            shared.late = later;
            lock(&self.sums).late += due.len() as u64;
            for (_, write) in due {
                write(&mut shared.tables);
            }
        }
        let now = self.now();
        self.sidecars.iter_mut().for_each(|one| one.pass(now, millis));
        let told = std::mem::take(&mut lock(&self.shared).told);
        for what in told {
            self.tell(what);
        }
        let left: Vec<SidecarId> =
            self.sidecars.iter().filter(|one| one.has_left()).map(|one| one.id.clone()).collect();
        for id in left {
            self.sidecars.retain(|one| one.id != id);
            let holds = lock(&self.shared).tables.accounts.values().any(|account| holds(account, &id));
            if holds {
                lock(&self.sums).deaths += 1;
            }
            self.tell(format!("{id} has left{}", if holds { ", and could not give back what it holds" } else { "" }));
        }
        self.check()
    }

    /// What always holds.
    fn check(&self) -> Result<(), String> {
        let (shared, sums) = (lock(&self.shared), lock(&self.sums));
        if let Some(wrong) = &sums.wrong {
            return Err(format!("a request was answered {wrong}"));
        }
        let overdraft = u128::from(self.rules.overdraft) * u128::from(self.born);
        for account in shared.tables.accounts.values() {
            let used = u128::from(account.spent) + u128::from(account.written_off) + account.leased();
            if i128::from(account.granted) - account.left() != used.cast_signed() {
                return Err(format!("the identity is broken: {account:?}"));
            }
            if used > u128::from(account.granted) + overdraft {
                return Err(format!("more is spent than granted and overdrawn: {account:?}"));
            }
        }
        let spent: u64 = shared.tables.accounts.values().map(|account| account.spent).sum();
        if spent > sums.admitted {
            return Err(format!("{spent} are charged, and only {} passed", sums.admitted));
        }
        Ok(())
    }

    /// All trouble ends, and nobody calls any more.
    fn calm_down(&mut self) {
        self.tell("all is calm");
        let mut shared = lock(&self.shared);
        shared.line = Line::Fine;
        shared.cut_off.clear();
        shared.failing = 0;
        drop(shared);
        self.sidecars.iter_mut().for_each(|one| one.is_paused = false);
    }

    /// Nothing is leased, and what passed is booked, or was lost with a gate that died.
    fn check_settled(&self) -> Result<(), String> {
        let (shared, sums) = (lock(&self.shared), lock(&self.sums));
        let (mut booked, mut dead) = (0, 0);
        for account in shared.tables.accounts.values() {
            if account.leased() > 0 {
                return Err(format!("long after the last request something is leased: {account:?}"));
            }
            let is_alive = |id: &SidecarId| self.sidecars.iter().any(|one| one.id == *id);
            let back = account.leases.iter().find(|(id, lease)| is_alive(id) && lease.written_off > 0);
            if let Some((id, lease)) = back {
                return Err(format!("{id} is back, and what it held stays written off: {lease:?}"));
            }
            let of_dead: u64 = account.leases.values().map(|lease| lease.written_off).sum();
            if account.written_off != of_dead {
                return Err(format!("credits are written off that no gate took with it: {account:?}"));
            }
            booked += account.spent + account.written_off;
            dead += of_dead;
        }
        if sums.deaths == 0 && dead > 0 {
            return Err(format!("nobody died, and {dead} credits are written off"));
        }
        let unbooked = sums.admitted.saturating_sub(booked + sums.refunded);
        let most = sums.deaths * self.rules.overdraft;
        if unbooked > most {
            return Err(format!("{unbooked} credits passed and are booked nowhere; {most} may have died with a gate"));
        }
        Ok(())
    }

    /// Whoever asks for what is left gets it, at each gate.
    fn check_no_false_refusal(&mut self) -> Result<(), String> {
        for index in 0..self.sidecars.len() {
            let period = Period::of(self.now() + jiff::SignedDuration::from_millis(self.sidecars[index].ahead));
            let left = {
                let shared = lock(&self.shared);
                let account = shared.tables.accounts.get(&(self.project.id.clone(), period));
                account.map_or(self.rules.direct_below, Account::available)
            };
            let before = lock(&self.sums).clone();
            self.sidecars[index].request(Arc::clone(&self.bodies[0]), Arc::clone(&self.key), Arc::clone(&self.sums));
            (0..100).try_for_each(|_| self.pass(STEP))?;
            let after = lock(&self.sums).clone();
            // The cheapest call costs less.
            if left > 100 && after.passed == before.passed {
                let (id, short) = (&self.sidecars[index].id, after.short - before.short);
                return Err(format!("{id} refused ({short} times for want of credits) while {left} were left"));
            }
            // What it leased falls idle and comes back before the next one asks.
            (0..100).try_for_each(|_| self.pass(STEP))?;
        }
        Ok(())
    }
}

fn holds(account: &Account, id: &SidecarId) -> bool {
    account.leases.get(id).is_some_and(|lease| lease.amount > 0 || lease.written_off > 0)
}

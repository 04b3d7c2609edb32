//! Native functions of what several hubs share: `src/shared` has the rest, in memory that all threads see.

use greenstack_hub::Called;

use crate::call::{Arguments, Returned, UNDEFINED};
use crate::core::Core;

/// `joinHubs()`: `[number, list]`, the number of this hub, and what tells the list it is in from others.
pub(crate) fn join_hubs(core: &'static Core, _: Arguments) -> Returned {
    let number = core.hub().join_hubs();
    let list = greenstack_hub::list_address();
    core.array_value([core.int_value(number.cast_signed()), core.double_value(list as f64)])
}

/// `wakeHub(number)`: 0 if there is no such hub any more, 1 if it has something else to do, 2 if it waited.
pub(crate) fn wake_hub(core: &'static Core, arguments: Arguments) -> Returned {
    core.int_value(match greenstack_hub::wake_hub(arguments.index(0)?) {
        Called::Ended => 0,
        Called::Working => 1,
        Called::Resting => 2,
    })
}

/// `isHubAlive(number)`
pub(crate) fn is_hub_alive(core: &'static Core, arguments: Arguments) -> Returned {
    core.bool_value(greenstack_hub::is_alive(arguments.index(0)?))
}

/// `answerWake()`: this hub can be woken anew; returns how many hubs have ended so far, modulo 2^31.
pub(crate) fn answer_wake(core: &'static Core, _: Arguments) -> Returned {
    core.hub().answer_wake();
    core.int_value((greenstack_hub::hubs_ended() & i32::MAX.cast_unsigned()).cast_signed())
}

/// `giveWay()`: lets other threads have the processor, for one of them to leave a lock.
pub(crate) fn give_way(_: &'static Core, _: Arguments) -> Returned {
    std::thread::yield_now();
    Ok(UNDEFINED)
}

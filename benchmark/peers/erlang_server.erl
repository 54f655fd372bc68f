%% Erlang/OTP: gen_tcp, a process per connection.
%%
%% erlang_server.py says what its options are and starts it.
-module(erlang_server).
-export([main/0]).

-define(LISTENERS, 2).       % strict and slow, by what they would declare to our server
-define(LONGEST, 1048576).   % bytes of a message
-define(ORDER, $!).          % as benchmark/peers/work.py has it

-define(ROUNDS, 3800).       % of computing between looks at the clock, each a reduction
-define(INTERRUPTED, 3).     % times what a chunk takes alone; a busy sibling core makes it two

%% What a handler does when it is ordered to: nanoseconds of computing, then milliseconds of
%% sleep; chunk is what ?ROUNDS take, in nanoseconds. The atom none stands for a server that
%% obeys no orders.
-record(work, {compute = 0, chunk = 0, sleep = 0}).

main() ->
    ok = os:set_signal(sigterm, default),
    [Kind, Hold] = init:get_plain_arguments(),
    Work = work(Kind, list_to_float(Hold)),
    Urls = lists:join(", ", [listen(Work) || _ <- lists:seq(1, ?LISTENERS)]),
    io:format("{\"urls\": [~s]}~n", [Urls]),
    spawn(fun control/0).

control() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            io:format("{}~n"),
            control();
        _End ->
            halt(0, [{flush, false}])
    end.

%% ---------------------------------------------------------------- work

work("none", _Hold) -> none;
work("compute", Hold) -> #work{compute = nanoseconds(Hold), chunk = calibrate()};
work("sleep", Hold) -> #work{sleep = ceil(Hold * 1000)};
work("both", Hold) ->
    #work{compute = nanoseconds(Hold / 2), chunk = calibrate(), sleep = ceil(Hold * 500)}.

nanoseconds(Seconds) -> round(Seconds * 1000000000).

carry_out(#work{compute = Compute, chunk = Chunk, sleep = Sleep}) ->
    burn(Compute, Chunk),
    case Sleep of
        0 -> ok;
        _ -> timer:sleep(Sleep)
    end.

%% Computes until that has used so much CPU time. Erlang tells nobody a process's CPU time, so it
%% is added up of chunks, each within one turn of the process, which ends after 4000 reductions.
%% One that took far longer than a chunk takes alone was interrupted by the system, and counts as
%% one that was not.
burn(Left, Chunk) when Left > 0 ->
    case time_of_chunk() of
        Took when Took > ?INTERRUPTED * Chunk -> burn(Left - Chunk, Chunk);
        Took -> burn(Left - Took, Chunk)
    end;
burn(_Left, _Chunk) -> ok.

%% What a chunk takes when nothing else runs.
calibrate() -> lists:min([time_of_chunk() || _ <- lists:seq(1, 5000)]).

time_of_chunk() ->
    erlang:yield(),
    Before = erlang:monotonic_time(nanosecond),
    compute(?ROUNDS, 1),
    erlang:monotonic_time(nanosecond) - Before.

%% Stays within small integers, so that no garbage is made.
compute(0, X) -> X;
compute(Rounds, X) -> compute(Rounds - 1, (X * 1140671485 + 12820163) band 16#ffffff).

%% ---------------------------------------------------------------- connections

%% The URL of a new listener. It belongs to the process that accepts from it.
listen(Work) ->
    Asker = self(),
    spawn_link(fun() ->
        Options = [binary, {ip, {127, 0, 0, 1}}, {packet, raw}, {active, false}, {nodelay, true},
                   {backlog, 1024}, {buffer, 65536}],
        {ok, Listener} = gen_tcp:listen(0, Options),
        {ok, Port} = inet:port(Listener),
        Asker ! {listening, Port},
        accept(Listener, Work)
    end),
    receive {listening, Port} -> io_lib:format("\"tcp://127.0.0.1:~b\"", [Port]) end.

accept(Listener, Work) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Server = spawn(fun() -> receive yours -> serve(Socket, <<>>, Work) end end),
    ok = gen_tcp:controlling_process(Socket, Server),
    Server ! yours,
    accept(Listener, Work).

%% Handles what was read, writes the replies to it together, then reads on.
serve(Socket, Rest, Work) ->
    _ = inet:setopts(Socket, [{active, once}]),
    receive
        {tcp, Socket, Data} ->
            {Verdict, Left, Replies} = answer(<<Rest/binary, Data/binary>>, [], Work),
            case gen_tcp:send(Socket, lists:reverse(Replies)) of
                ok when Verdict =:= more -> serve(Socket, Left, Work);
                _ -> gen_tcp:close(Socket)
            end;
        {tcp_closed, Socket} -> ok;
        {tcp_error, Socket, _Reason} -> ok
    end.

%% The replies to every whole envelope, the last one first: a digit d, then d digits with the
%% length, then the payload.
answer(<<Digit, More/binary>> = Data, Replies, Work) when Digit >= $1, Digit =< $9 ->
    Width = Digit - $0,
    case More of
        <<Digits:Width/binary, Body/binary>> ->
            case length_of(Digits) of
                Length when Length > ?LONGEST -> {bad, <<>>, Replies};
                Length ->
                    case Body of
                        <<Message:Length/binary, Next/binary>> ->
                            obey(Message, Work),
                            answer(Next, [[Digit, Digits, Message] | Replies], Work);
                        _ -> {more, Data, Replies}
                    end
            end;
        _ -> {more, Data, Replies}
    end;
answer(<<>>, Replies, _Work) -> {more, <<>>, Replies};
answer(_Data, Replies, _Work) -> {bad, <<>>, Replies}.

%% In decimal, without leading zeros; anything else is an atom, which is more than any number.
length_of(<<$0>>) -> 0;
length_of(<<$0, _/binary>>) -> bad;
length_of(Digits) -> length_of(Digits, 0).

length_of(<<Digit, More/binary>>, Length) when Digit >= $0, Digit =< $9 ->
    length_of(More, 10 * Length + Digit - $0);
length_of(<<>>, Length) -> Length;
length_of(_Other, _Length) -> bad.

obey(_Message, none) -> ok;
obey(<<?ORDER, _/binary>>, Work) -> carry_out(Work);
obey(_Message, _Work) -> ok.
